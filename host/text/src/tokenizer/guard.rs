//! Bounds on what a file can make the library do: `tokenizer.json` comes with a model, and can ask for anything.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use serde_json::Value;

use super::expression;
use super::normaliser;
use super::tokenizer_file::{FileModel, TokenizerFile};
use crate::clock;

/// Steps in each part of the file; known files have fewer than ten.
const MAX_STEPS: usize = 64;
/// Special tokens that are put around a text.
const MAX_AROUND: usize = 1024;
/// How much longer the decoder may make the tokens it is given.
const MAX_DECODED: f64 = 64.0;
/// The longest token; known ones have some hundred bytes.
const MAX_TOKEN: usize = 1 << 16;
/// The largest id; known ones are below 300,000. Lists of all tokens are made for answers of a given form.
const MAX_ID: u64 = 1 << 22;
/// The longest word that WordPiece looks at, which takes it the cube of that. The library's usual bound is 100, that of the first BERT 200;
/// a word of so many takes a tenth of a second at most.
const MAX_WORD: u64 = 1000;
/// The most merges that BPE may leave out: each that it leaves out is tried again after each that it does not.
const MAX_DROPOUT: f64 = 0.5;
/// How long the library may take for a text, or a tokenizer. Real ones read two megabytes in two seconds.
const LONGEST: Duration = Duration::from_secs(10);

/// Why work is stopped within the library, which has no errors for it or ignores them: as an unwinding that [`guarded`] makes an error of.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// A text becomes too large.
    Size,
    /// Its time is over.
    Time,
    /// A word is too long.
    Word,
}

/// Stops the work.
pub fn stop(stop: Stop) -> ! {
    std::panic::resume_unwind(Box::new(stop))
}

/// Stops the work whose time is over.
pub fn look() {
    if clock::is_over() {
        stop(Stop::Time);
    }
}

/// Runs the library on so many bytes of text; a panic in it is an error, in words.
pub fn guarded<T>(bytes: usize, work: impl FnOnce() -> T) -> Result<T, String> {
    normaliser::begin(bytes);
    let _time = clock::Time::begin(LONGEST);
    // The library is only read, or thrown away when it fails to be made.
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| words(payload.as_ref()))
}

fn words(payload: &(dyn Any + Send)) -> String {
    if let Some(stop) = payload.downcast_ref::<Stop>() {
        return match stop {
            Stop::Size => format!(
                "its normaliser makes it more than {} times as long, and {} KiB",
                normaliser::EACH,
                normaliser::FREE_BYTES >> 10
            ),
            Stop::Time => "the tokenizer takes longer for it than it may; shorten it".to_owned(),
            Stop::Word => "it is too long for the tokenizer, whose words or whose regular expression would take very many steps for it; \
                           shorten it"
                .to_owned(),
        };
    }
    let said = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    match said {
        Some(said) => {
            let said: String = said.chars().take(200).collect();
            format!("the tokenizer library gave up on it ({said})")
        }
        None => "the tokenizer library gave up on it".to_owned(),
    }
}

/// What no tokenizer needs, in words.
pub fn excess(file: &TokenizerFile) -> Option<String> {
    let parts = [
        ("normalizer", &file.normalizer),
        ("pre_tokenizer", &file.pre_tokenizer),
        ("post_processor", &file.post_processor),
        ("decoder", &file.decoder),
    ];
    for (name, part) in parts {
        let steps = steps(part);
        if steps > MAX_STEPS {
            return Some(format!("its `{name}` has {steps} steps, more than {MAX_STEPS}"));
        }
    }
    around(&file.post_processor)
        .or_else(|| {
            let growth = decoded(&file.decoder);
            (growth > MAX_DECODED).then(|| {
                format!("its `decoder` can make text {growth:.0} times as long, more than {MAX_DECODED:.0}")
            })
        })
        .or_else(|| {
            let longest = longest_token(&file.model)?;
            (longest > MAX_TOKEN)
                .then(|| format!("its vocabulary has a token of {longest} bytes, more than {MAX_TOKEN}"))
        })
        .or_else(|| {
            let added = file.added_tokens.iter().map(|token| token.id.into());
            let largest = added.chain(largest_id(&file.model)).max()?;
            (largest > MAX_ID).then(|| format!("a token's id is {largest}, more than {MAX_ID}"))
        })
        .or_else(|| {
            [&file.normalizer, &file.pre_tokenizer]
                .into_iter()
                .find_map(|part| expressions(part, &expression::excess))
        })
        .or_else(|| {
            // A decoder's are searched for by the library itself.
            let unknown = |text: &str| {
                (!expression::is_known(text)).then(|| "a regular expression that is not known".to_owned())
            };
            expressions(&file.decoder, &unknown)
        })
        .or_else(|| {
            let dropout = match &file.model {
                FileModel::Pairs(pairs) => pairs.dropout.map(f64::from),
                FileModel::Other(model) => model["dropout"].as_f64(),
                FileModel::Missing => None,
            };
            dropout
                .filter(|dropout| *dropout > MAX_DROPOUT)
                .map(|dropout| format!("it leaves out {dropout} of its merges, more than {MAX_DROPOUT}"))
        })
        .or_else(|| {
            let FileModel::Other(model) = &file.model else {
                return None;
            };
            let longest = model["max_input_chars_per_word"].as_u64();
            longest
                .filter(|longest| *longest > MAX_WORD)
                .map(|longest| format!("its words may have {longest} characters, more than {MAX_WORD}"))
        })
}

fn longest_token(model: &FileModel) -> Option<usize> {
    match model {
        FileModel::Missing => None,
        FileModel::Pairs(pairs) => pairs.vocab.keys().map(String::len).max(),
        FileModel::Other(model) => match &model["vocab"] {
            Value::Object(table) => table.keys().map(String::len).max(),
            Value::Array(list) => {
                let tokens = list.iter().filter_map(|entry| entry[0].as_str());
                tokens.map(str::len).max()
            }
            _ => None,
        },
    }
}

fn largest_id(model: &FileModel) -> Option<u64> {
    match model {
        FileModel::Missing => None,
        FileModel::Pairs(pairs) => pairs.vocab.values().max().map(|id| u64::from(*id)),
        FileModel::Other(model) => {
            let ids = model["vocab"].as_object()?.values();
            ids.filter_map(Value::as_u64).max()
        }
    }
}

/// The keys under which parts hold others.
const PARTS: [&str; 4] = ["normalizers", "pretokenizers", "processors", "decoders"];

fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    PARTS.iter().filter_map(|key| value[*key].as_array()).flatten()
}

/// What is wrong with a part's regular expressions.
fn expressions(value: &Value, wrong: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let own = value["pattern"]["Regex"].as_str().and_then(wrong);
    own.map(|found| format!("it has {found}"))
        .or_else(|| parts(value).find_map(|part| expressions(part, wrong)))
}

fn steps(value: &Value) -> usize {
    1 + parts(value).map(steps).sum::<usize>()
}

/// A template that repeats the text, or puts very many tokens around it.
fn around(value: &Value) -> Option<String> {
    let mut tokens = 0;
    for template in ["single", "pair"] {
        let pieces = value[template].as_array().map_or(&[][..], Vec::as_slice);
        let is_text = |piece: &&Value| {
            piece["Sequence"].is_object() || piece.as_str().is_some_and(|p| p.starts_with('$'))
        };
        let texts = pieces.iter().filter(is_text).count();
        if texts > 2 {
            return Some(format!("its `post_processor` repeats a text {texts} times"));
        }
        tokens += pieces.len();
    }
    if let Some(special) = value["special_tokens"].as_object() {
        let ids = special.values().filter_map(|token| token["ids"].as_array());
        tokens += ids.map(Vec::len).sum::<usize>();
    }
    if tokens > MAX_AROUND {
        return Some(format!(
            "its `post_processor` puts {tokens} tokens around a text, more than {MAX_AROUND}"
        ));
    }
    parts(value).find_map(around)
}

/// How many times as long a decoder can make text, each replacement taken at its worst.
fn decoded(value: &Value) -> f64 {
    let own = match value["content"].as_str().filter(|_| value["type"] == "Replace") {
        Some(content) => {
            let length = content.len() as f64;
            match value["pattern"]["String"].as_str().map(str::len) {
                Some(pattern) if pattern > 0 => (length / pattern as f64).max(1.0),
                _ => length + 1.0,
            }
        }
        None => 1.0,
    };
    parts(value).map(decoded).fold(own, |all, part| all * part)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_panic_is_told_and_not_passed_on() {
        let told = guarded(0, || -> () { panic!("the regex is {}", "bad") }).unwrap_err();
        assert!(told.contains("the regex is bad"), "{told}");
        assert_eq!(guarded(0, || 1), Ok(1));
    }

    #[test]
    fn growth_is_refused_and_what_tokenizers_do_is_not() {
        let excess = |file: &Value| super::excess(&TokenizerFile::deserialize(file).unwrap());
        let replace =
            |content: &str| json!({"type": "Replace", "pattern": {"String": "i"}, "content": content});
        let decoder = |count: usize| json!({"decoder": {"decoders": vec![replace("ii"); count]}});
        assert_eq!(excess(&decoder(6)), None);
        assert!(excess(&decoder(7)).unwrap().contains("128 times"));
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let template =
            |count: usize| json!({"post_processor": {"processors": [{"single": vec![text.clone(); count]}]}});
        assert_eq!(excess(&template(2)), None);
        assert!(excess(&template(3)).unwrap().contains("3 times"));
        let deep =
            json!({"normalizer": {"normalizers": vec![json!({"normalizers": vec![replace("a"); 30]}); 3]}});
        assert!(excess(&deep).unwrap().contains("94 steps"));
        for long in [
            json!({"vocab": {"x".repeat(70_000): 0}}),
            json!({"vocab": [["x".repeat(70_000), 0]]}),
            json!({"type": "BPE", "vocab": {"x".repeat(70_000): 0}, "merges": []}),
        ] {
            assert!(excess(&json!({"model": long})).unwrap().contains("70000 bytes"));
        }
        assert_eq!(excess(&json!({"model": {"vocab": {"x": MAX_ID}}})), None);
        for file in [
            json!({"model": {"vocab": {"x": MAX_ID + 1}}}),
            json!({"model": {"type": "BPE", "vocab": {"x": MAX_ID + 1}, "merges": []}}),
            json!({"model": {"vocab": {}}, "added_tokens": [{
                "id": u32::MAX, "content": "x", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false,
            }]}),
        ] {
            assert!(excess(&file).unwrap().contains("a token's id"), "{file}");
        }
        let words = |longest: u64| json!({"model": {"max_input_chars_per_word": longest}});
        assert!(excess(&words(1001)).is_some());
        assert_eq!(excess(&words(200)), None);
        assert!(excess(&json!({"model": {"dropout": 0.9}})).is_some());
        let pairs = json!({"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.9});
        assert!(excess(&json!({"model": pairs})).is_some());
        assert_eq!(excess(&json!({"model": {"dropout": 0.1}})), None);
        let part = |part: &str, regex: &str| json!({part: {"decoders": [{"type": "Replace", "pattern": {"Regex": regex}, "content": ""}]}});
        assert!(excess(&part("decoder", "(x+x+)+y")).is_some());
        assert_eq!(excess(&part("decoder", " +")), None);
        assert_eq!(excess(&part("normalizer", "(x+x+)+y")), None);
        assert!(excess(&part("normalizer", r"(?<x>\g<x>)")).is_some());
    }
}
