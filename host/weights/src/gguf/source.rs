//! Which GGUF files make up a model: the language model, in one file or in numbered ones, and the `mmproj` file beside it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file::GgufFile;
use crate::error::{WeightsError, list};

const ENDING: &str = ".gguf";
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
    /// The `mmproj` file.
    pub projector: Option<String>,
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
    let (stem, ending) = name.split_at_checked(name.len().checked_sub(ENDING.len())?)?;
    ending.eq_ignore_ascii_case(ENDING).then_some(stem)
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
        let names = names_in(&here);
        let open = |name: &String| GgufFile::open(&here.join(name));
        let language = chosen.language.iter().map(open).collect::<Result<_, _>>()?;
        let projector = chosen.projector.as_ref().map(open).transpose()?;
        let others: Vec<String> = names
            .iter()
            .filter(|name| is_gguf_name(name) && is_projector(name))
            .filter(|name| Some(*name) != chosen.projector.as_ref())
            .cloned()
            .collect();
        let mut notes = Vec::new();
        if let Some(projector) = chosen.projector.as_ref().filter(|name| name.starts_with(ABOVE)) {
            notes.push(format!(
                "`{projector}` is used: beside the model is no file that sees"
            ));
        }
        if let (Some(projector), false) = (&chosen.projector, others.is_empty()) {
            notes.push(format!("`{projector}` is used, and not {}", list(&others)));
        }
        Ok(Self {
            language,
            projector,
            notes,
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &GgufFile> {
        self.language.iter().chain(&self.projector)
    }
}

/// Chooses a model of a folder or a repository by its files' names: the one whose name has `tag`, or the only one.
pub fn choose(names: &[String], tag: Option<&str>) -> Result<Chosen, String> {
    let models = stems(names);
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
                "no GGUF file has `{tag}` in its name; there are {}",
                tags()
            ));
        }
        ([], _) => return Err("there is no GGUF file of a language model".to_owned()),
        _ => return Err(format!("there are several models: {}; name one of them", tags())),
    };
    model_of(names, models[stem][0])
}

/// The language models among files' names: the tag that tells each from the others, and its files that are there.
pub fn models_of(names: &[String]) -> Vec<(String, Vec<String>)> {
    let models = stems(names);
    let tag = |stem: &str| tag_of(stem, &models).to_owned();
    let files = |files: &[&String]| files.iter().map(|name| (*name).clone()).collect();
    models
        .iter()
        .map(|(stem, names)| (tag(stem), files(names)))
        .collect()
}

/// The files of the language model with this tag, those of them that are there; none where no model has it, or several have.
pub(crate) fn tagged(names: &[String], tag: &str) -> Vec<String> {
    let models = stems(names);
    match fitting(&models, tag)[..] {
        [stem] => models[stem].iter().map(|name| (*name).clone()).collect(),
        _ => Vec::new(),
    }
}

/// Files of language models, by their names without a shard's number.
fn stems(names: &[String]) -> BTreeMap<&str, Vec<&String>> {
    let mut models: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    let of_language = |name: &&String| is_gguf_name(name) && !is_projector(name);
    for name in names.iter().filter(of_language) {
        let stem = model_stem(name);
        models.entry(stem).or_default().push(name);
    }
    models
}

/// The GGUF files that a path stands for, without opening any; none where it is not clear.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    chosen_of(path).map_or(Vec::new(), |(folder, chosen)| {
        let names = chosen.language.into_iter().chain(chosen.projector);
        names.map(|name| folder.join(name)).collect()
    })
}

/// The folder of a model, and its files in there.
fn chosen_of(path: &Path) -> Result<(PathBuf, Chosen), String> {
    if path.is_dir() {
        let (names, projector) = apart(path, None);
        let mut chosen = choose(&names, None)?;
        chosen.projector = chosen
            .projector
            .or(projector)
            .or_else(|| above(path, &chosen.language[0]));
        return Ok((path.to_owned(), chosen));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let asked = path.file_name().unwrap_or_default().to_string_lossy();
    let (names, projector) = apart(folder, Some(&asked));
    let mut chosen = model_of(&names, &asked)?;
    chosen.projector = chosen.projector.or(projector).or_else(|| above(folder, &asked));
    Ok((folder.to_owned(), chosen))
}

/// The `mmproj` file in the folder above, where each conversion has a folder of its own: one that is of this model by its name, or of no other.
fn above(folder: &Path, language: &str) -> Option<String> {
    let names = names_in(&folder.join(ABOVE));
    let projector = projectors(&names, language).into_iter().next()?;
    let (own, words) = (words(model_stem(language)), words(model_stem(projector)));
    let is_of_it = words.is_empty() || words.intersection(&own).next().is_some();
    is_of_it.then(|| format!("{ABOVE}{projector}"))
}

/// The names in a folder, and apart from them the file that sees where no name tells it but its key-values do.
fn apart(folder: &Path, asked: Option<&str>) -> (Vec<String>, Option<String>) {
    let mut names = names_in(folder);
    let files = names.iter().filter(|name| is_gguf_name(name));
    if files.clone().any(|name| is_projector(name)) {
        return (names, None);
    }
    let sees = |name: &&String| {
        let file = GgufFile::open(&folder.join(name));
        file.is_ok_and(|file| {
            file.header()
                .values
                .get(ARCHITECTURE)
                .is_some_and(|known| known == SEES)
        })
    };
    // A model without what sees is refused anyway, and most are no folder of others.
    let found = files
        .filter(|name| asked != Some(name.as_str()))
        .find(sees)
        .cloned();
    if let Some(found) = &found {
        names.retain(|name| name != found);
    }
    (names, found)
}

/// The file's last part that tells it from others: `Q4_K_M` of `name-Q4_K_M`, `UD-Q4_K_M` of `name-UD-Q4_K_M` where both are there.
fn tag_of<'a>(stem: &'a str, models: &BTreeMap<&str, Vec<&String>>) -> &'a str {
    let ends = stem.rmatch_indices(['-', '.']).map(|(at, _)| &stem[at + 1..]);
    let own = |tag: &&str| fitting(models, tag) == [stem];
    ends.take(2).find(own).unwrap_or(stem)
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
    let (stem, tag) = (stem.to_lowercase(), tag.to_lowercase());
    stem == tag || stem.ends_with(&format!("-{tag}")) || stem.ends_with(&format!(".{tag}"))
}

/// The model that a file belongs to.
pub(crate) fn model_of(names: &[String], asked: &str) -> Result<Chosen, String> {
    if is_projector(asked) {
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
            let missing: Vec<String> = parts
                .iter()
                .filter(|part| !names.contains(part))
                .cloned()
                .collect();
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
    Ok(Chosen {
        projector: projectors(names, asked).first().map(|name| (*name).clone()),
        language,
    })
}

/// The `mmproj` files for a language model, the best first.
fn projectors<'a>(names: &'a [String], language: &str) -> Vec<&'a String> {
    // As numbers go: enough for pictures, and half as large as the largest.
    const BEST: [&str; 4] = ["f16", "bf16", "q8_0", "f32"];
    let rank = |name: &str| {
        let name = name.to_lowercase();
        BEST.iter().position(|kind| {
            let after = name.rfind(kind).map(|at| &name[..at]);
            after.is_some_and(|before| before.ends_with(['-', '.', '_']) && !before.ends_with("b"))
        })
    };
    let mut projectors: Vec<&String> = names
        .iter()
        .filter(|name| is_gguf_name(name) && is_projector(name))
        .collect();
    let own = words(model_stem(language));
    // In a folder of several models, that of the same name; then as numbers go.
    projectors.sort_by_key(|name| {
        let words = words(model_stem(name));
        let (shared, others) = (words.intersection(&own).count(), words.difference(&own).count());
        (Reverse(shared), others, rank(name).unwrap_or(BEST.len()))
    });
    projectors
}

fn is_projector(name: &str) -> bool {
    name.to_lowercase().contains("mmproj")
}

/// A file's name without its ending and a shard's number.
fn model_stem(name: &str) -> &str {
    shard(name).map_or(stem_of(name).unwrap_or(name), |shard| shard.stem)
}

/// The words of a file's name that say of what model it is: without its folder and its numbers' type, and without `mmproj`.
fn words(stem: &str) -> BTreeSet<String> {
    let stem = stem.rsplit('/').next().unwrap_or(stem).to_lowercase();
    let typed = stem
        .rmatch_indices(SEPARATORS)
        .map(|(at, _)| at)
        .find(|at| is_type(&stem[at + 1..]));
    let words = stem[..typed.unwrap_or(stem.len())].split(SEPARATORS);
    let words = words.filter(|word| !word.is_empty() && *word != "mmproj");
    words.map(str::to_owned).collect()
}

const SEPARATORS: [char; 3] = ['-', '.', '_'];

/// Whether a name's end begins with a type of numbers: `q4_k_m`, `bf16`.
fn is_type(end: &str) -> bool {
    const TYPES: [&str; 7] = ["q", "iq", "tq", "f", "bf", "fp", "mxfp"];
    TYPES.iter().any(|kind| {
        end.strip_prefix(kind)
            .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    })
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
    fn a_model_may_lie_in_a_folder_and_what_sees_above_it() {
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
        // Beside the model goes before above.
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
