//! The tokenizer of the key-values `tokenizer.ggml.*`: `tokenizer.json`, or the pieces of a SentencePiece model.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::Cut;
use crate::error::cut as cut_text;

/// Types of tokens, as SentencePiece numbers them (`llama_token_type` in `llama.h`).
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

/// The name of a tokenizer's file, and what is in it.
pub type File = (&'static str, Value);

/// Makes the tokenizer's file; the error says which key-value is wrong.
pub fn make(values: &BTreeMap<String, Value>, cuts: &BTreeMap<String, Cut>) -> Result<File, String> {
    let get = |key: &str| values.get(&format!("tokenizer.ggml.{key}"));
    let list = |key: &str| get(key).and_then(Value::as_array);
    let tokens = list("tokens").ok_or("it has no `tokenizer.ggml.tokens`")?;
    match get("model").and_then(Value::as_str).unwrap_or_default() {
        "gpt2" => {}
        "llama" => return pieces(values, tokens),
        model => {
            let model = cut_text(model);
            return Err(format!(
                "`tokenizer.ggml.model` is `{model}`; vocabularies of the kinds `gpt2` and `llama` are read"
            ));
        }
    }
    let merges = list("merges").ok_or("it has no `tokenizer.ggml.merges`")?;
    let name = get("pre").and_then(Value::as_str);
    let cut = cuts.get(name.unwrap_or("default")).ok_or_else(|| {
        let known: Vec<&str> = cuts.keys().map(String::as_str).collect();
        let known = known.join(", ");
        match name {
            None => format!("it has no `tokenizer.ggml.pre`, which says how text is cut (known: {known})"),
            Some(name) => format!(
                "`tokenizer.ggml.pre` is `{}`, and no table says how that cuts text (known: {known})",
                cut_text(name)
            ),
        }
    })?;
    let kinds = list("token_type");
    let mut vocabulary = Map::new();
    let mut added = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        let token = token
            .as_str()
            .ok_or("`tokenizer.ggml.tokens` has something else than texts")?;
        let kind = kinds.and_then(|kinds| kinds.get(id)).and_then(Value::as_u64);
        // What fills up the rows of the embeddings is no token.
        if kind == Some(UNUSED) && token.starts_with("[PAD") {
            continue;
        }
        if matches!(kind, Some(CONTROL | USER_DEFINED)) {
            added.push(json!({
                "id": id, "content": token, "special": kind == Some(CONTROL),
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
        // Of two with one text, the first counts: its id is what the text becomes.
        vocabulary.entry(token).or_insert(json!(id));
    }
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        // The parts have no spaces but one that may begin the second: bytes have letters of their own.
        let text = merge.as_str().unwrap_or_default();
        let (left, right) = text.split_once(' ').ok_or_else(|| {
            let text = cut_text(text);
            format!("`tokenizer.ggml.merges` has `{text}`, which is not two tokens")
        })?;
        let whole = format!("{left}{right}");
        if let Some(absent) = [left, right, whole.as_str()]
            .iter()
            .find(|part| !vocabulary.contains_key(**part))
        {
            return Err(format!(
                "`tokenizer.ggml.merges` has `{}`, and `tokenizer.ggml.tokens` has no `{}`",
                cut_text(text),
                cut_text(absent)
            ));
        }
        pairs.push(json!([left, right]));
    }
    let token = |key: &str| {
        let id = get(key).and_then(Value::as_u64)?;
        tokens.get(usize::try_from(id).ok()?)
    };
    let begins = get("add_bos_token").and_then(Value::as_bool).unwrap_or(false);
    let processor = match token("bos_token_id").and_then(Value::as_str).filter(|_| begins) {
        None => Value::Null,
        Some(first) => json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {first: {"id": first, "ids": [get("bos_token_id")], "tokens": [first]}},
        }),
    };
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": cut.normalizer,
        "pre_tokenizer": cut.pre_tokenizer,
        "post_processor": processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "vocab": vocabulary, "merges": pairs, "ignore_merges": cut.ignore_merges,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        },
    });
    Ok(("tokenizer.json", tokenizer))
}

/// The pieces of a SentencePiece model, as llama.cpp numbers their kinds (`llama_token_type` in `llama.h`).
fn pieces(values: &BTreeMap<String, Value>, tokens: &[Value]) -> Result<File, String> {
    let get = |key: &str| values.get(&format!("tokenizer.ggml.{key}"));
    let same_length = |key: &str| -> Result<&[Value], String> {
        let list = get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        match list.len() == tokens.len() {
            true => Ok(list),
            false => Err(format!(
                "`tokenizer.ggml.{key}` has {} values for {} tokens",
                list.len(),
                tokens.len()
            )),
        }
    };
    let (scores, kinds) = (same_length("scores")?, same_length("token_type")?);
    let pieces: Vec<Value> = tokens
        .iter()
        .zip(scores.iter().zip(kinds))
        .map(|(token, (score, kind))| json!([token, score, kind]))
        .collect();
    let tokenizer = json!({
        "pieces": pieces,
        "add_space_prefix": get("add_space_prefix"),
        "remove_extra_whitespaces": get("remove_extra_whitespaces"),
    });
    Ok(("tokenizer.pieces.json", tokenizer))
}

/// `tokenizer_config.json`: special tokens and the template.
pub fn config(values: &BTreeMap<String, Value>) -> Value {
    let get = |key: &str| values.get(&format!("tokenizer.ggml.{key}"));
    let tokens = get("tokens").and_then(Value::as_array);
    let token = |key: &str| tokens?.get(usize::try_from(get(key)?.as_u64()?).ok()?);
    let mut config = Map::new();
    // Byte-level vocabularies have these in their tokenizer's file.
    if get("model").is_some_and(|model| model == "llama") {
        let flags = ["add_bos_token", "add_eos_token"].into_iter();
        config.extend(flags.filter_map(|key| Some((key.to_owned(), get(key)?.clone()))));
    }
    for (key, id) in [
        ("bos_token", "bos_token_id"),
        ("eos_token", "eos_token_id"),
        ("unk_token", "unknown_token_id"),
        ("pad_token", "padding_token_id"),
    ] {
        if let Some(token) = token(id) {
            config.insert(key.to_owned(), token.clone());
        }
    }
    if let Some(template) = values.get("tokenizer.chat_template") {
        config.insert("chat_template".to_owned(), template.clone());
    }
    config.into()
}
