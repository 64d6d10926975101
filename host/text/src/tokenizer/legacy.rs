//! `vocab.json` and `merges.txt`: pairs of byte-level tokens, as transformers' older classes save them.

use serde_json::{Value, json};

use super::classes::BytePairs;

/// The same tokenizer as a `tokenizer.json`.
///
/// `vocabulary` and `merges` are the files' texts; errors name the file they are about first.
pub fn tokenizer_json(
    vocabulary: &[u8],
    merges: &[u8],
    class: &BytePairs,
    tokenizer_config: &Value,
) -> Result<Value, (&'static str, String)> {
    let vocabulary: Value =
        serde_json::from_slice(vocabulary).map_err(|error| ("vocab.json", error.to_string()))?;
    if !vocabulary.is_object() {
        return Err(("vocab.json", "it is not a table of tokens and ids".to_owned()));
    }
    let merges =
        std::str::from_utf8(merges).map_err(|_| ("merges.txt", "it is not UTF-8 text".to_owned()))?;
    // As the library reads such files: a first line may name a version, and nothing else is a comment.
    let lines = (1..)
        .zip(merges.lines())
        .filter(|(_, line)| !line.starts_with("#version"));
    let mut pairs = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push(json!([left, right])),
            _ => return Err(("merges.txt", format!("line {number} is not two tokens"))),
        }
    }
    let mut pre_tokenizer = class.pre_tokenizer.clone();
    if let Some(space) = tokenizer_config["add_prefix_space"].as_bool() {
        set_prefix_space(&mut pre_tokenizer, space);
    }
    Ok(json!({
        "version": "1.0",
        "normalizer": class.normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": pairs,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
        },
    }))
}

fn set_prefix_space(pre_tokenizer: &mut Value, space: bool) {
    if pre_tokenizer["type"] == "ByteLevel" {
        pre_tokenizer["add_prefix_space"] = json!(space);
    }
    if let Some(parts) = pre_tokenizer["pretokenizers"].as_array_mut() {
        parts.iter_mut().for_each(|part| set_prefix_space(part, space));
    }
}
