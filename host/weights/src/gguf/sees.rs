//! Which of several GGUF files sees: by its name where that has `mmproj`; else by what it holds, where the file is at hand, and by names that other
//! programs give, where there is only a list of names.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::file::GgufFile;
use super::source::{ARCHITECTURE, SEES, is_gguf_name, model_stem};
use crate::error::list;

/// In most names, and the ending of some.
const USUAL: &str = "mmproj";
/// Parts of names that older converters of llama.cpp and other programs give.
const OTHERS: [&str; 8] = [
    "mm-proj",
    "mm_proj",
    "mm.proj",
    "vision-encoder",
    "vision_encoder",
    "vision-tower",
    "vision_tower",
    "projector",
];
/// The same, where nothing else is around it.
const OTHER_WORD: &str = "clip";
/// The end of names that one of llama.cpp's older converters gave.
const OTHER_END: &str = "vision";
/// Words of names that say nothing of whose they are.
const OF_NO_MODEL: [&str; 9] = [
    USUAL,
    "model",
    "mm",
    "proj",
    "clip",
    "vision",
    "encoder",
    "tower",
    "projector",
];
/// As numbers go: enough for pictures, and half as large as the largest.
const BEST: [&str; 4] = ["f16", "bf16", "q8_0", "f32"];
/// Between the parts of a name.
pub(super) const SEPARATORS: [char; 3] = ['-', '.', '_'];

/// The GGUF files of a folder or a repository.
#[derive(Debug, Default)]
pub(super) struct Files<'a> {
    /// Those of language models.
    pub language: Vec<&'a String>,
    /// Those that see.
    pub sees: Vec<&'a String>,
    /// What told these, where it was not their names' `mmproj`.
    told_by: Option<&'static str>,
}

/// Tells files apart by their names. Names without `mmproj` count only where no name has it, and where a language model is left.
pub(super) fn by_names(names: &[String]) -> Files<'_> {
    let usual = apart(names, is_named_so);
    if !usual.sees.is_empty() {
        return usual;
    }
    let others = apart(names, seems_to_see);
    match others.sees.is_empty() || others.language.is_empty() {
        true => usual,
        false => Files {
            told_by: Some("its name says that it sees"),
            ..others
        },
    }
}

/// Tells the files of a folder apart. What is asked for is not opened: it is the language model, or refused later.
pub(super) fn in_folder<'a>(folder: &Path, names: &'a [String], asked: Option<&str>) -> Files<'a> {
    let usual = apart(names, is_named_so);
    if !usual.sees.is_empty() {
        return usual;
    }
    let sees = |name: &str| {
        asked != Some(name) && GgufFile::open(&folder.join(name)).is_ok_and(|file| holds_it(&file))
    };
    Files {
        told_by: Some("its key-values say that it sees"),
        ..apart(names, sees)
    }
}

fn apart(names: &[String], sees: impl Fn(&str) -> bool) -> Files<'_> {
    let of_gguf = names
        .iter()
        .filter(|name| is_gguf_name(name) && !is_of_no_model(name));
    let (sees, language) = of_gguf.partition(|name| sees(name));
    Files {
        language,
        sees,
        told_by: None,
    }
}

/// Whether a file has what a quantisation took into account, which some publish beside its results.
fn is_of_no_model(name: &str) -> bool {
    name.to_lowercase().contains("imatrix")
}

/// Whether a file's name has `mmproj`, or ends so.
pub(super) fn is_named_so(name: &str) -> bool {
    is_gguf_name(name) && name.to_lowercase().contains(USUAL)
}

/// Whether a file's name looks like that of one that sees, though it has no `mmproj`.
fn seems_to_see(name: &str) -> bool {
    let stem = stem(name);
    let words: Vec<&str> = stem.split(SEPARATORS).collect();
    OTHERS.iter().any(|other| stem.contains(other))
        || words.contains(&OTHER_WORD)
        || words.last() == Some(&OTHER_END)
}

/// Whether a file is of what sees, by its key-values.
fn holds_it(file: &GgufFile) -> bool {
    let values = &file.header().values;
    let says = |key: &str, value: &str| values.get(key).and_then(Value::as_str) == Some(value);
    says(ARCHITECTURE, SEES) || says("general.type", USUAL)
}

/// Whether a file that sees may be of a language model: by the words of its name, or because it has none.
pub(super) fn may_be_of(sees: &str, language: &str) -> bool {
    let (words, own) = (words_of(sees), words(language));
    words.is_empty() || words.intersection(&own).next().is_some()
}

impl<'a> Files<'a> {
    /// The file that sees for a language model: in a folder of several models that whose name shares most words with it, and has fewest others; then
    /// as numbers go.
    pub fn best(&self, language: &str) -> Option<&'a str> {
        let own = words(language);
        let best = self.sees.iter().min_by_key(|name| {
            let words = words_of(name);
            let (shared, others) = (words.intersection(&own).count(), words.difference(&own).count());
            (Reverse(shared), others, rank(name))
        });
        best.map(|name| name.as_str())
    }

    /// What is to be known where this one was taken.
    pub fn notes(&self, taken: &str) -> Vec<String> {
        let others: Vec<String> = self
            .sees
            .iter()
            .filter(|name| name.as_str() != taken)
            .cloned()
            .cloned()
            .collect();
        let told = self.told_by.map(|told_by| {
            format!("`{taken}` is used for pictures: no file has `{USUAL}` in its name, and {told_by}")
        });
        let several = (!others.is_empty()).then(|| {
            format!(
                "`{taken}` is used for pictures, and not {}: the name that shares most words with the model's counts, then {} in this order",
                list(&others),
                BEST.join(", ")
            )
        });
        told.into_iter().chain(several).collect()
    }
}

/// The place of a file's type of numbers among [`BEST`].
fn rank(name: &str) -> usize {
    let name = name.to_lowercase().replace("fp16", "f16").replace("fp32", "f32");
    let is_of = |kind: &&str| {
        let before = name.rfind(*kind).map(|at| &name[..at]);
        before.is_some_and(|before| before.ends_with(SEPARATORS))
    };
    BEST.iter().position(is_of).unwrap_or(BEST.len())
}

/// A file's name without its folder, its ending and a shard's number, in small letters.
fn stem(name: &str) -> String {
    let stem = model_stem(name);
    stem.rsplit('/').next().unwrap_or(stem).to_lowercase()
}

/// The words of a file's name that say of what model it is: without its folder and its numbers' type.
fn words(name: &str) -> BTreeSet<String> {
    let stem = stem(name);
    let typed = stem
        .rmatch_indices(SEPARATORS)
        .map(|(at, _)| at)
        .find(|at| is_type(&stem[at + 1..]));
    let words = stem[..typed.unwrap_or(stem.len())].split(SEPARATORS);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Those of a file that sees.
fn words_of(name: &str) -> BTreeSet<String> {
    let mut words = words(name);
    words.retain(|word| !OF_NO_MODEL.contains(&word.as_str()) && !is_type(word));
    words
}

/// Whether a name's end begins with a type of numbers: `q4_k_m`, `bf16`.
pub(super) fn is_type(end: &str) -> bool {
    const TYPES: [&str; 7] = ["q", "iq", "tq", "f", "bf", "fp", "mxfp"];
    TYPES.iter().any(|kind| {
        end.strip_prefix(kind)
            .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Names of public repositories: which file sees for the first one.
    #[test]
    fn what_sees_has_many_names() {
        for (all, expected) in [
            // ggml-org, unsloth, bartowski; several types of numbers.
            (
                &[
                    "Thing-VL-Q8_0.gguf",
                    "mmproj-Thing-VL-Q8_0.gguf",
                    "mmproj-Thing-VL-f16.gguf",
                ][..],
                "mmproj-Thing-VL-f16.gguf",
            ),
            (
                &[
                    "Thing-VL-Q4_K_M.gguf",
                    "mmproj-BF16.gguf",
                    "mmproj-F16.gguf",
                    "mmproj-F32.gguf",
                ],
                "mmproj-F16.gguf",
            ),
            // The earliest ones, and those of Gemma 3.
            (
                &["ggml-model-q4_k.gguf", "mmproj-model-f16.gguf"],
                "mmproj-model-f16.gguf",
            ),
            (
                &["thing-4b-it-q4_0.gguf", "mmproj-model-f16-4B.gguf"],
                "mmproj-model-f16-4B.gguf",
            ),
            // mradermacher, xtuner and vikhyatk
            (
                &[
                    "Thing.Q4_K_M.gguf",
                    "Thing.mmproj-Q8_0.gguf",
                    "Thing.mmproj-fp16.gguf",
                ],
                "Thing.mmproj-fp16.gguf",
            ),
            (
                &["thing2-text-model-f16.gguf", "thing2-mmproj-f16.gguf"],
                "thing2-mmproj-f16.gguf",
            ),
            (
                &[
                    "Thing-bf16.gguf",
                    "Thing-bf16.mmproj.gguf",
                    "Thing-Q8_0.mmproj.gguf",
                ],
                "Thing-bf16.mmproj.gguf",
            ),
            // Mungert
            (
                &["Thing-VL-q4_k_m.gguf", "Thing-VL-f16.mmproj"],
                "Thing-VL-f16.mmproj",
            ),
            // second-state, and others without `mmproj`
            (
                &[
                    "Thing-VL-7B-Instruct-Q5_K_M.gguf",
                    "Thing-VL-7B-Instruct-vision.gguf",
                ],
                "Thing-VL-7B-Instruct-vision.gguf",
            ),
            (
                &["Thing-Q2_K.gguf", "Thing-Vision-Encoder.gguf"],
                "Thing-Vision-Encoder.gguf",
            ),
            (&["Thing-Q2_K.gguf", "thing-clip-f16.gguf"], "thing-clip-f16.gguf"),
            (&["Thing-Q2_K.gguf", "mm_proj.gguf"], "mm_proj.gguf"),
        ] {
            let all = names(all);
            let files = by_names(&all);
            assert_eq!(files.best(&all[0]), Some(expected), "{all:?}");
            assert!(files.language.contains(&&all[0]), "{all:?}");
            assert!(may_be_of(expected, &all[0]), "{expected}");
        }
    }

    #[test]
    fn language_models_have_such_names_too() {
        for all in [
            &[
                "Thing-3.2-11B-Vision-Instruct.Q4_K_M.gguf",
                "Thing-3.2-11B-Vision-Instruct.Q8_0.gguf",
            ][..],
            &["Thing-Vision.Q4_K_M.gguf"],
            // Nothing would be left that speaks.
            &["Thing-Vision.gguf"],
            &["clip-f16.gguf"],
            &["eclipse-7b-Q4_0.gguf", "provision.gguf"],
        ] {
            let all = names(all);
            let files = by_names(&all);
            assert_eq!(
                (files.sees.len(), files.language.len()),
                (0, all.len()),
                "{all:?}"
            );
        }
        // What has the usual name goes before what has another.
        let all = names(&["Thing-Q8_0.gguf", "Thing-vision.gguf", "mmproj-F16.gguf"]);
        let files = by_names(&all);
        assert_eq!(files.sees, [&all[2]]);
        assert_eq!(files.language, [&all[0], &all[1]]);
    }

    #[test]
    fn what_was_taken_is_said() {
        let all = names(&["Thing-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"]);
        let files = by_names(&all);
        assert_eq!(
            files.notes("mmproj-F16.gguf"),
            [
                "`mmproj-F16.gguf` is used for pictures, and not `mmproj-BF16.gguf`: the name that shares most words with the model's counts, \
                 then f16, bf16, q8_0, f32 in this order"
            ]
        );
        let all = names(&["Thing-Q8_0.gguf", "clip.gguf"]);
        assert_eq!(
            by_names(&all).notes("clip.gguf"),
            [
                "`clip.gguf` is used for pictures: no file has `mmproj` in its name, and its name says that it sees"
            ]
        );
        let all = names(&["Thing-Q8_0.gguf", "mmproj-Thing.gguf"]);
        assert_eq!(by_names(&all).notes("mmproj-Thing.gguf"), [] as [&str; 0]);
    }

    #[test]
    fn what_has_no_words_may_be_of_any_model() {
        for (sees, language, expected) in [
            ("mmproj-F16.gguf", "Thing-Q8_0.gguf", true),
            ("mmproj-model-f16.gguf", "Thing-Q8_0.gguf", true),
            ("clip.gguf", "Thing-Q8_0.gguf", true),
            ("mmproj-Thing-F16.gguf", "Thing-VL-Q8_0.gguf", true),
            ("mmproj-Other-F16.gguf", "Thing-Q8_0.gguf", false),
        ] {
            assert_eq!(may_be_of(sees, language), expected, "{sees}");
        }
    }
}
