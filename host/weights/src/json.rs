//! Reading the JSON and text files of a model's folder.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::WeightsError;
use crate::files;
use crate::hub::distrust;

/// The largest text file that is read: the index of a model with a hundred thousand tensors has some 10 MB.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Values in a JSON file, each of which takes some hundred bytes however short it is written: that index has as many as tensors.
const MAX_VALUES: usize = 1 << 20;

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
    let values = values(&text);
    if values > MAX_VALUES {
        return Err(bad(format!(
            "it has {values} values, more than the {MAX_VALUES} that a file may have"
        )));
    }
    let value = parse(&text).map_err(|error| bad(error.to_string()))?;
    Ok(Some(value))
}

/// How many values a JSON text has, seen before it is parsed.
fn values(json: &str) -> usize {
    let (mut values, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
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

    #[test]
    fn values_are_counted_outside_of_texts() {
        assert_eq!(super::values(r#"{"a": [1, 2], "b,[": "\"{,", "c": {}}"#), 6);
        assert_eq!(super::values(r#"["\\", 1]"#), 2);
    }
}
