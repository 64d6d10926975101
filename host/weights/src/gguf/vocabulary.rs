//! `tokenizer.json` of the key-values `tokenizer.ggml.*`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::Cut;

/// Types of tokens, as SentencePiece numbers them (`llama_token_type` in `llama.h`).
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The small files of a tokenizer.
pub struct Vocabulary {
    /// `tokenizer.json`
    pub tokenizer: Value,
    /// `tokenizer_config.json`
    pub config: Value,
}

/// Makes the files; the error says which key-value is wrong.
pub fn make(values: &BTreeMap<String, Value>, cuts: &BTreeMap<String, Cut>) -> Result<Vocabulary, String> {
    let get = |key: &str| values.get(&format!("tokenizer.ggml.{key}"));
    let list = |key: &str| get(key).and_then(Value::as_array);
    let model = get("model").and_then(Value::as_str).unwrap_or_default();
    if model != "gpt2" {
        return Err(format!(
            "`tokenizer.ggml.model` is `{model}`; vocabularies of kind `gpt2` are read"
        ));
    }
    let tokens = list("tokens").ok_or("it has no `tokenizer.ggml.tokens`")?;
    let merges = list("merges").ok_or("it has no `tokenizer.ggml.merges`")?;
    let name = get("pre").and_then(Value::as_str).unwrap_or("default");
    let cut = cuts.get(name).ok_or_else(|| {
        let known: Vec<&str> = cuts.keys().map(String::as_str).collect();
        format!(
            "`tokenizer.ggml.pre` is `{name}`, and no table says how that cuts text (known: {})",
            known.join(", ")
        )
    })?;
    let kinds = list("token_type");
    let mut vocabulary = Map::new();
    let mut added = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        let token = token
            .as_str()
            .ok_or("`tokenizer.ggml.tokens` has something else than texts")?;
        let kind = kinds.and_then(|kinds| kinds.get(id)).and_then(Value::as_u64);
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
        let (left, right) = text
            .split_once(' ')
            .ok_or_else(|| format!("`tokenizer.ggml.merges` has `{text}`, which is not two tokens"))?;
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
    let mut config = Map::new();
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
    Ok(Vocabulary {
        tokenizer,
        config: config.into(),
    })
}
