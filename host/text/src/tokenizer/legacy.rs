//! `vocab.json` and `merges.txt`: pairs of byte-level tokens, as transformers' older classes save them.

use serde_json::{Value, json};
use tokenizers::models::bpe::Vocab;

use super::classes;
use super::tokenizer_file::{BytePairs, TokenizerFile};

/// The most merges; known files have some 500,000. Each takes more than a hundred bytes.
const MAX_MERGES: usize = 1 << 22;

/// What a `tokenizer.json` of the same tokenizer says.
///
/// `vocabulary` and `merges` are the files' texts; errors name the file they are about first.
pub fn tokenizer_file(
    vocabulary: &[u8],
    merges: &[u8],
    class: &classes::BytePairs,
    tokenizer_config: &Value,
) -> Result<TokenizerFile, (&'static str, String)> {
    let vocabulary: Vocab = serde_json::from_slice(vocabulary).map_err(|error| {
        (
            "vocab.json",
            format!("it is not a table of tokens and ids ({error})"),
        )
    })?;
    let merges =
        std::str::from_utf8(merges).map_err(|_| ("merges.txt", "it is not UTF-8 text".to_owned()))?;
    // As the library reads such files: a first line may name a version, and nothing else is a comment.
    let lines = (1..)
        .zip(merges.lines())
        .filter(|(_, line)| !line.starts_with("#version"));
    let mut pairs = Vec::new();
    if lines.clone().take(MAX_MERGES + 1).count() > MAX_MERGES {
        return Err(("merges.txt", format!("it has more than {MAX_MERGES} lines")));
    }
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push((left.to_owned(), right.to_owned())),
            _ => return Err(("merges.txt", format!("line {number} is not two tokens"))),
        }
    }
    let mut pre_tokenizer = class.pre_tokenizer.clone();
    if let Some(space) = tokenizer_config["add_prefix_space"].as_bool() {
        set_prefix_space(&mut pre_tokenizer, space);
    }
    Ok(TokenizerFile {
        normalizer: class.normalizer.clone(),
        pre_tokenizer,
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        ..TokenizerFile::of_pairs(BytePairs::new(vocabulary, pairs))
    })
}

fn set_prefix_space(pre_tokenizer: &mut Value, space: bool) {
    if pre_tokenizer["type"] == "ByteLevel" {
        pre_tokenizer["add_prefix_space"] = json!(space);
    }
    if let Some(parts) = pre_tokenizer["pretokenizers"].as_array_mut() {
        parts.iter_mut().for_each(|part| set_prefix_space(part, space));
    }
}
