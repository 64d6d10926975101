//! Reading the JSON and text files of a model's folder.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::WeightsError;
use crate::files;
use crate::hub::distrust;
use crate::shards::INDEX;

/// The largest text file that is read: the index of a model with a hundred thousand tensors has some 10 MB.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// What the values of an index may take once they are parsed: 350,000 tensors with names of a hundred letters.
const MOST_OF_INDEX: u64 = 128 << 20;
/// Those of the tokenizer's configuration, which is parsed twice: the largest known (6,414 added tokens) takes 13 MB.
const MOST_OF_TOKENIZER: u64 = 24 << 20;
/// Those of what says how pictures are prepared, which is parsed and handed on several times, and is short.
const MOST_OF_PROCESSOR: u64 = 8 << 20;
/// Those of any other file; some are parsed by the plugin, too.
const MOST: u64 = 16 << 20;

/// Reads a text file; `None` when there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, WeightsError> {
    let Some((file, metadata)) = files::open(path)? else {
        return Ok(None);
    };
    let bad = |reason: String| {
        distrust(path);
        WeightsError::BadText {
            file: path.to_owned(),
            expected: "UTF-8 text",
            reason,
        }
    };
    let too_long = || bad(format!("it has more than {MAX_TEXT_BYTES} bytes"));
    if metadata.len() > MAX_TEXT_BYTES {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    // Some files of the system say that they are empty, and are not.
    let read = file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| WeightsError::io("read", path, error))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(too_long());
    }
    files::refuse_pointer(path, &bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| bad(error.utf8_error().to_string()))?;
    Ok(Some(text))
}

/// Reads a JSON file; `None` when there is none.
pub(crate) fn read_json(path: &Path) -> Result<Option<Value>, WeightsError> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    let bad = |reason: String| {
        distrust(path);
        WeightsError::BadText {
            file: path.to_owned(),
            expected: "JSON",
            reason,
        }
    };
    let (bytes, most) = (monocle_files::parsed_bytes(text.as_bytes()), most_of(path));
    if bytes > most {
        return Err(bad(format!(
            "its values take {bytes} bytes, more than the {most} that they may"
        )));
    }
    let value = parse(&text).map_err(|error| bad(error.to_string()))?;
    Ok(Some(value))
}

/// What the values of this file may take.
fn most_of(path: &Path) -> u64 {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(INDEX) => MOST_OF_INDEX,
        Some("tokenizer_config.json") => MOST_OF_TOKENIZER,
        Some("preprocessor_config.json" | "processor_config.json") => MOST_OF_PROCESSOR,
        _ => MOST,
    }
}

/// Parses JSON as Python writes it: with `NaN` (read as null) and infinities (read as the largest numbers).
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        let plain = without_special_numbers(text);
        if plain == text {
            Err(error)
        } else {
            serde_json::from_str(&plain)
        }
    })
}

fn without_special_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(character) = rest.chars().next() {
        let special = [("NaN", "null"), ("Infinity", "1.7976931348623157e308")]
            .into_iter()
            .find(|(word, _)| !in_string && rest.starts_with(word));
        if let Some((word, number)) = special {
            plain.push_str(number);
            rest = &rest[word.len()..];
            continue;
        }
        // A character after a backslash ends no string.
        let taken = match character {
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => character.len_utf8(),
        };
        in_string ^= character == '"';
        plain.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    #[test]
    fn python_numbers_are_read_and_strings_left_alone() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "NaN \" NaN": "Infinity\\"}"#;
        let expected = json!({"a": null, "b": [f64::MIN, f64::MAX], "NaN \" NaN": "Infinity\\"});
        assert_eq!(super::parse(text).unwrap(), expected);
        assert!(super::parse("{\"a\": NaN").is_err());
        assert!(super::parse("{\"a\": \"\\").is_err());
        assert!(super::parse("").is_err());
    }

    /// So many entries of a file, as large as published ones have them, within what the file may take.
    #[track_caller]
    fn fits(name: &str, entry: &str, count: u64) {
        let bytes = count * monocle_files::parsed_bytes(entry.as_bytes());
        let most = super::most_of(Path::new(name));
        assert!(bytes <= most && bytes > most / 8, "{name}: {bytes} of {most}");
    }

    #[test]
    fn large_published_files_are_read() {
        // Kimi K2 has 384 experts in each of 60 layers, of three matrices, stored in three parts each.
        let name = "language_model.model.layers.60.mlp.experts.383.down_proj.weight_packed";
        let file = "model-00062-of-000064.safetensors";
        fits(
            "model.safetensors.index.json",
            &format!("    \"{name}\": \"{file}\",\n"),
            207_360,
        );
        // Gemma 3's added tokens.
        let token = r#""lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": false"#;
        fits(
            "tokenizer_config.json",
            &format!("\"256001\": {{\"content\": \"<unused6241>\", {token}}},"),
            6414,
        );
        // ImageNet's 21,841 classes, by number and by name.
        fits("config.json", "\"21840\": \"n12345678 a name\",", 2 * 21_841);
    }
}
