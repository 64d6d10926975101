//! Which GGUF files make up a model: the language model, in one file or in numbered ones, and the one beside it that sees, which most programs call
//! `mmproj`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::GgufFile;
use super::sees::{self, Files, SEPARATORS, is_type};
use crate::error::{WeightsError, list};

const ENDING: &str = ".gguf";
/// That of some files that see.
const SEEING_ENDING: &str = ".mmproj";
/// How a file in the folder above is called.
const ABOVE: &str = "../";
/// The key-value that says what a file is of.
pub(super) const ARCHITECTURE: &str = "general.architecture";
/// Its value in files of what sees.
pub(super) const SEES: &str = "clip";

/// The opened files of a model.
#[derive(Debug)]
pub struct GgufFiles {
    /// Of the language model, in order; the first has the key-values.
    pub language: Vec<GgufFile>,
    /// What sees.
    pub projector: Option<GgufFile>,
    /// What is odd but harmless.
    pub notes: Vec<String>,
}

/// The names of a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// In order.
    pub language: Vec<String>,
    /// What sees.
    pub projector: Option<String>,
    /// What is to be known of that choice.
    pub notes: Vec<String>,
}

/// Whether a path stands for GGUF files: one of them, or a folder that has some and no safetensors.
pub fn is_gguf(path: &Path) -> bool {
    if path.is_file() {
        return is_gguf_name(&path.to_string_lossy());
    }
    let names = names_in(path);
    names.iter().any(|name| is_gguf_name(name)) && !names.iter().any(|name| name.ends_with(".safetensors"))
}

/// Whether a file of this name is a GGUF file, in letters of either case.
pub fn is_gguf_name(name: &str) -> bool {
    stem_of(name).is_some()
}

/// A GGUF file's name without its ending.
fn stem_of(name: &str) -> Option<&str> {
    [ENDING, SEEING_ENDING].iter().find_map(|known| {
        let (stem, ending) = name.split_at_checked(name.len().checked_sub(known.len())?)?;
        ending.eq_ignore_ascii_case(known).then_some(stem)
    })
}

/// The names of what is in a folder, in order.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The names of what is in a folder, in order, and of the GGUF files in its folders, as `FOLDER/NAME`. Hidden folders are none of a model's.
pub fn names_below(folder: &Path) -> Vec<String> {
    let mut names = names_in(folder);
    let folders = names
        .iter()
        .filter(|name| !name.starts_with('.') && folder.join(name).is_dir());
    let within = |place: &String| {
        let files = names_in(&folder.join(place)).into_iter();
        let files = files.filter(|name| is_gguf_name(name));
        files.map(|name| format!("{place}/{name}")).collect::<Vec<_>>()
    };
    let below: Vec<String> = folders.flat_map(within).collect();
    names.extend(below);
    names
}

/// Whether a repository's snapshot is one of GGUF files: some in it or in its folders, and no safetensors.
pub fn is_gguf_snapshot(folder: &Path) -> bool {
    let names = names_below(folder);
    names.iter().any(|name| is_gguf_name(name)) && !names.iter().any(|name| name.ends_with(".safetensors"))
}

impl GgufFiles {
    /// Opens what a path stands for: a file with those that belong to it, or a folder with one model.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let (here, chosen) = chosen_of(path).map_err(|problem| WeightsError::GgufChoice {
            path: path.to_owned(),
            problem,
        })?;
        let open = |name: &String| GgufFile::open(&here.join(name));
        Ok(Self {
            language: chosen.language.iter().map(open).collect::<Result<_, _>>()?,
            projector: chosen.projector.as_ref().map(open).transpose()?,
            notes: chosen.notes,
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &GgufFile> {
        self.language.iter().chain(&self.projector)
    }
}

/// Chooses a model of a folder or a repository by its files' names: the one whose name has `tag`, or the only one.
pub fn choose(names: &[String], tag: Option<&str>) -> Result<Chosen, String> {
    choose_of(&sees::by_names(names), tag)
}

fn choose_of(files: &Files, tag: Option<&str>) -> Result<Chosen, String> {
    let models = stems(files);
    let tags = || {
        list(
            &models
                .keys()
                .map(|stem| tag_of(stem, &models).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let fits: Vec<&str> = match tag {
        None => models.keys().copied().collect(),
        Some(tag) => fitting(&models, tag),
    };
    let stem = match (fits.as_slice(), tag) {
        ([only], _) => *only,
        ([], Some(tag)) if !models.is_empty() => {
            return Err(format!(
                "no GGUF file has `{tag}` at its name's end; there are {}; name one of them",
                tags()
            ));
        }
        ([], _) => return Err("there is no GGUF file of a language model".to_owned()),
        _ => return Err(format!("there are several models: {}; name one of them", tags())),
    };
    model_in(files, models[stem][0])
}

/// The language models among files' names: the tag that tells each from the others, and its files that are there.
pub fn models_of(names: &[String]) -> Vec<(String, Vec<String>)> {
    let files = sees::by_names(names);
    let models = stems(&files);
    let tag = |stem: &str| tag_of(stem, &models).to_owned();
    let files = |files: &[&String]| files.iter().map(|name| (*name).clone()).collect();
    models
        .iter()
        .map(|(stem, names)| (tag(stem), files(names)))
        .collect()
}

/// The files of the language model with this tag, those of them that are there; none where no model has it, or several have.
pub(crate) fn tagged(names: &[String], tag: &str) -> Vec<String> {
    let files = sees::by_names(names);
    let models = stems(&files);
    match fitting(&models, tag)[..] {
        [stem] => models[stem].iter().map(|name| (*name).clone()).collect(),
        _ => Vec::new(),
    }
}

/// Files of language models, by their names without a shard's number.
fn stems<'a>(files: &Files<'a>) -> BTreeMap<&'a str, Vec<&'a String>> {
    let mut models: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in &files.language {
        models.entry(model_stem(name)).or_default().push(name);
    }
    models
}

/// The GGUF files that a path stands for; none where it is not clear.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    chosen_of(path).map_or(Vec::new(), |(folder, chosen)| {
        let names = chosen.language.into_iter().chain(chosen.projector);
        names.map(|name| folder.join(name)).collect()
    })
}

/// The folder of a model, and its files in there.
fn chosen_of(path: &Path) -> Result<(PathBuf, Chosen), String> {
    if path.is_dir() {
        let names = names_in(path);
        let mut chosen = choose_of(&sees::in_folder(path, &names, None), None)?;
        look_around(path, &mut chosen);
        return Ok((path.to_owned(), chosen));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let asked = path.file_name().unwrap_or_default().to_string_lossy();
    let names = names_in(folder);
    let mut chosen = model_in(&sees::in_folder(folder, &names, Some(&asked)), &asked)?;
    look_around(folder, &mut chosen);
    Ok((folder.to_owned(), chosen))
}

/// Where nothing beside the model sees, what does in the folder above, where each conversion has a folder of its own, or in a folder within the
/// model's: one that is of this model by its name, or of no other.
fn look_around(folder: &Path, chosen: &mut Chosen) {
    if chosen.projector.is_some() {
        return;
    }
    let language = chosen.language[0].as_str();
    let above = names_in(&folder.join(ABOVE));
    let within = names_below(folder).into_iter();
    let within: Vec<String> = within.filter(|name| name.contains('/')).collect();
    let found = best_of(&above, language)
        .map(|name| format!("{ABOVE}{name}"))
        .or_else(|| best_of(&within, language));
    if let Some(found) = found {
        chosen.notes = vec![format!(
            "`{found}` is used: beside the model is no file that sees"
        )];
        chosen.projector = Some(found);
    }
}

/// Of files' names, the best one of what sees that may be of a language model.
fn best_of(names: &[String], language: &str) -> Option<String> {
    let files = sees::by_names(names);
    let found = files.best(language);
    found
        .filter(|name| sees::may_be_of(name, language))
        .map(str::to_owned)
}

/// The file's last part that tells it from others: `Q4_K_M` of `name-Q4_K_M`, `UD-Q4_K_M` of `name-UD-Q4_K_M` where both are there.
fn tag_of<'a>(stem: &'a str, models: &BTreeMap<&str, Vec<&String>>) -> &'a str {
    let ends = stem.rmatch_indices(SEPARATORS).map(|(at, _)| &stem[at + 1..]);
    let own = |tag: &&str| fitting(models, tag) == [stem];
    ends.filter(|tag| has_tag(stem, tag))
        .take(2)
        .find(own)
        .unwrap_or(stem)
}

/// The models that a tag stands for. What Unsloth quantises by layers has `UD` before its tag, and is meant without only where it is the only one.
fn fitting<'a>(models: &BTreeMap<&'a str, Vec<&String>>, tag: &str) -> Vec<&'a str> {
    let fits = |tag: &str| models.keys().copied().filter(|stem| has_tag(stem, tag)).collect();
    let all: Vec<&str> = fits(tag);
    let of_layers: Vec<&str> = fits(&format!("UD-{tag}"));
    let others: Vec<&str> = all
        .iter()
        .copied()
        .filter(|stem| !of_layers.contains(stem))
        .collect();
    match others.len() {
        1 => others,
        _ => all,
    }
}

fn has_tag(stem: &str, tag: &str) -> bool {
    // The whole name is one, too.
    let tag = stem_of(tag).unwrap_or(tag);
    let (stem, tag) = (stem.to_lowercase(), tag.to_lowercase());
    let Some(before) = stem.strip_suffix(&tag) else {
        return false;
    };
    // Types of numbers have such lines within them, too: `K_M` is none.
    before.is_empty() || before.ends_with(['-', '.']) || (before.ends_with('_') && is_type(&tag))
}

/// The model that a file belongs to.
pub(crate) fn model_of(names: &[String], asked: &str) -> Result<Chosen, String> {
    model_in(&sees::by_names(names), asked)
}

fn model_in(files: &Files, asked: &str) -> Result<Chosen, String> {
    if files.sees.iter().any(|name| *name == asked) || sees::is_named_so(asked) {
        return Err(format!(
            "`{asked}` is the part of a model that sees; name the language model's file beside it"
        ));
    }
    let language = match shard(asked) {
        None => vec![asked.to_owned()],
        Some(Shard { stem, count, .. }) => {
            let ending = &asked[asked.len() - ENDING.len()..];
            let part = |number| format!("{stem}-{number:05}-of-{count:05}{ending}");
            let parts: Vec<String> = (1..=count).map(part).collect();
            let is_missing = |part: &&String| !files.language.contains(part);
            let missing: Vec<String> = parts.iter().filter(is_missing).cloned().collect();
            if !missing.is_empty() {
                return Err(format!(
                    "{} of its {count} files are missing: {}",
                    missing.len(),
                    list(&missing)
                ));
            }
            parts
        }
    };
    let projector = files.best(asked);
    Ok(Chosen {
        notes: projector.map_or(Vec::new(), |name| files.notes(name)),
        projector: projector.map(str::to_owned),
        language,
    })
}

/// A file's name without its ending and a shard's number.
pub(super) fn model_stem(name: &str) -> &str {
    shard(name).map_or(stem_of(name).unwrap_or(name), |shard| shard.stem)
}

struct Shard<'a> {
    stem: &'a str,
    count: usize,
}

/// `STEM-00001-of-00003.gguf`
fn shard(name: &str) -> Option<Shard<'_>> {
    let (rest, count) = stem_of(name)?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = digits(count).then(|| count.parse().ok())??;
    (digits(number) && count > 0).then_some(Shard { stem, count })
}

/// Where a model's first file is, for messages.
pub fn first_path(files: &GgufFiles) -> PathBuf {
    files
        .language
        .first()
        .map_or(PathBuf::new(), |file| file.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn files_are_chosen_by_their_names() {
        let all = names(&[
            "Model-Q4_K_M.gguf",
            "Model-Q8_0.gguf",
            "Model-f16-00001-of-00002.gguf",
            "Model-f16-00002-of-00002.gguf",
            "mmproj-Model-Q8_0.gguf",
            "mmproj-Model-f16.gguf",
        ]);
        let chosen = choose(&all, Some("q4_k_m")).unwrap();
        assert_eq!(chosen.language, names(&["Model-Q4_K_M.gguf"]));
        assert_eq!(chosen.projector.as_deref(), Some("mmproj-Model-f16.gguf"));
        assert_eq!(choose(&all, Some("F16")).unwrap().language, all[2..4]);
        let error = choose(&all, None).unwrap_err();
        assert!(error.contains("Q4_K_M") && error.contains("Q8_0"), "{error}");
        assert!(choose(&all, Some("K_M")).is_err());
        assert!(choose(&all[2..3], None).unwrap_err().contains("00002-of-00002"));
        assert_eq!(choose(&all[..1], None).unwrap().projector, None);
        assert!(model_of(&all, "mmproj-Model-f16.gguf").is_err());
        let models = models_of(&all);
        let tags: Vec<&str> = models.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["Q4_K_M", "Q8_0", "f16"]);
        assert_eq!(models[2].1, all[2..4]);
    }

    #[test]
    fn tags_stand_behind_any_sign_and_what_is_no_model_has_none() {
        let all = names(&[
            "Thing_Q4_K_M.gguf",
            "Thing_Q8_0.gguf",
            "Thing.IQ4_XS.gguf",
            "Thing.i1-Q5_K_M.gguf",
            "Thing-fp16.gguf",
            "Thing.imatrix.gguf",
            "imatrix_Thing.gguf",
            "mmproj_Thing.gguf",
        ]);
        let models = models_of(&all);
        let tags: Vec<&str> = models.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["fp16", "IQ4_XS", "Q5_K_M", "Q4_K_M", "Q8_0"]);
        for (tag, name) in tags.iter().zip([4, 2, 3, 0, 1]) {
            let chosen = choose(&all, Some(tag)).unwrap();
            assert_eq!(chosen.language, all[name..=name], "{tag}");
            assert_eq!(chosen.projector.as_ref(), Some(&all[7]), "{tag}");
        }
        assert_eq!(choose(&all, Some("Thing_Q8_0.gguf")).unwrap().language, all[1..2]);
        for wrong in ["K_M", "0", "XS", "imatrix"] {
            let error = choose(&all, Some(wrong)).unwrap_err();
            assert!(
                error.contains(&format!("has `{wrong}` at its name's end")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_tag_means_the_plain_conversion_where_there_is_another_by_layers() {
        let all = names(&[
            "X-Q4_K_M.gguf",
            "X-UD-Q4_K_M.gguf",
            "X-UD-Q2_K_XL.gguf",
            "mmproj-F16.gguf",
        ]);
        for (tag, expected) in [
            ("Q4_K_M", "X-Q4_K_M.gguf"),
            ("UD-Q4_K_M", "X-UD-Q4_K_M.gguf"),
            ("Q2_K_XL", "X-UD-Q2_K_XL.gguf"),
            ("ud-q2_k_xl", "X-UD-Q2_K_XL.gguf"),
        ] {
            assert_eq!(
                choose(&all, Some(tag)).unwrap().language,
                names(&[expected]),
                "{tag}"
            );
            assert_eq!(tagged(&all, tag), names(&[expected]), "{tag}");
        }
        let models = models_of(&all);
        let tags: Vec<&str> = models.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["Q4_K_M", "Q2_K_XL", "UD-Q4_K_M"]);
        // Two others of one ending are as unclear as before.
        let two = names(&["X-Q4_0.gguf", "Y-Q4_0.gguf", "X-UD-Q4_0.gguf"]);
        assert!(choose(&two, Some("Q4_0")).is_err());
    }

    #[test]
    fn what_sees_is_that_of_the_same_model() {
        let all = names(&[
            "Other-4V-Q8_0.gguf",
            "Thing2.5-VL-3B-Q4_K_M.gguf",
            "Thing2.5-VL-7B-Instruct-Q4_K_M-00001-of-00001.gguf",
            "Thing2.5-VL-7B-Q4_K_M.gguf",
            "mmproj-F16.gguf",
            "mmproj-Other-4V-BF16.gguf",
            "mmproj-Thing2.5-VL-3B-F32.gguf",
            "mmproj-Thing2.5-VL-7B-F32.gguf",
            "mmproj-Thing2.5-VL-7B-Instruct-Q8_0.gguf",
            "mmproj-Thing2.5-VL-7B-Q8_0.gguf",
        ]);
        let projector = |asked: &str| model_of(&all, asked).unwrap().projector.unwrap();
        for (asked, expected) in [
            ("Other-4V-Q8_0.gguf", "mmproj-Other-4V-BF16.gguf"),
            ("Thing2.5-VL-3B-Q4_K_M.gguf", "mmproj-Thing2.5-VL-3B-F32.gguf"),
            ("Thing2.5-VL-7B-Q4_K_M.gguf", "mmproj-Thing2.5-VL-7B-Q8_0.gguf"),
            (
                "Thing2.5-VL-7B-Instruct-Q4_K_M-00001-of-00001.gguf",
                "mmproj-Thing2.5-VL-7B-Instruct-Q8_0.gguf",
            ),
            ("Third-Q8_0.gguf", "mmproj-F16.gguf"),
        ] {
            assert_eq!(projector(asked), expected, "{asked}");
        }
    }

    #[test]
    fn a_model_may_lie_in_a_folder_and_what_sees_around_it() {
        let root = std::env::temp_dir().join(format!("monocle-above-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let model = root.join("Q8_0/Thing-VL-Q8_0.gguf");
        std::fs::create_dir_all(root.join("Q8_0")).unwrap();
        std::fs::write(&model, "").unwrap();
        let projector = |path: &Path| chosen_of(path).unwrap().1.projector;
        // One of another model is none of this.
        std::fs::write(root.join("mmproj-Other-4B-F16.gguf"), "").unwrap();
        assert_eq!(projector(&model), None);
        std::fs::write(root.join("mmproj-F16.gguf"), "").unwrap();
        assert_eq!(projector(&model).as_deref(), Some("../mmproj-F16.gguf"));
        std::fs::write(root.join("mmproj-Thing-VL-BF16.gguf"), "").unwrap();
        let expected = Some("../mmproj-Thing-VL-BF16.gguf");
        assert_eq!(projector(&model).as_deref(), expected);
        assert_eq!(projector(&root.join("Q8_0")).as_deref(), expected);
        assert_eq!(
            files_of(&model),
            [model.clone(), root.join("Q8_0/../mmproj-Thing-VL-BF16.gguf")]
        );
        assert!(is_gguf_snapshot(&root));
        let names = names_below(&root);
        assert_eq!(tagged(&names, "q8_0"), ["Q8_0/Thing-VL-Q8_0.gguf"]);
        let chosen = choose(&names, Some("Q8_0")).unwrap();
        assert_eq!(chosen.projector.as_deref(), Some("mmproj-Thing-VL-BF16.gguf"));
        // Within the model's folder comes after above; in one beside it lie other models.
        std::fs::remove_file(root.join("mmproj-Thing-VL-BF16.gguf")).unwrap();
        std::fs::remove_file(root.join("mmproj-F16.gguf")).unwrap();
        std::fs::create_dir_all(root.join("other")).unwrap();
        std::fs::write(root.join("other/mmproj-F16.gguf"), "").unwrap();
        assert_eq!(projector(&model), None);
        std::fs::create_dir_all(root.join("Q8_0/mmproj")).unwrap();
        std::fs::write(root.join("Q8_0/mmproj/mmproj-F16.gguf"), "").unwrap();
        assert_eq!(projector(&model).as_deref(), Some("mmproj/mmproj-F16.gguf"));
        std::fs::write(root.join("mmproj-F16.gguf"), "").unwrap();
        assert_eq!(projector(&model).as_deref(), Some("../mmproj-F16.gguf"));
        // Beside the model goes before all.
        std::fs::write(root.join("Q8_0/mmproj-F32.gguf"), "").unwrap();
        assert_eq!(projector(&model).as_deref(), Some("mmproj-F32.gguf"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn endings_may_have_large_letters() {
        let all = names(&[
            "MMPROJ.GGUF",
            "Model-00001-of-00002.GGUF",
            "Model-00002-of-00002.GGUF",
        ]);
        let chosen = choose(&all, None).unwrap();
        assert_eq!(chosen.language, all[1..]);
        assert_eq!(chosen.projector.as_deref(), Some("MMPROJ.GGUF"));
    }
}
