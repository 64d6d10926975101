//! The tokenizer of the key-values `tokenizer.ggml.*`: `tokenizer.json`, or the pieces of a SentencePiece model.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::Cut;

/// Types of tokens, as SentencePiece numbers them (`llama_token_type` in `llama.h`).
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

/// The small files of a tokenizer.
pub struct Vocabulary {
    /// The name of the tokenizer's file, and what is in it.
    pub tokenizer: (&'static str, Value),
    /// `tokenizer_config.json`
    pub config: Value,
}

/// Makes the files; the error says which key-value is wrong.
pub fn make(values: &BTreeMap<String, Value>, cuts: &BTreeMap<String, Cut>) -> Result<Vocabulary, String> {
    let get = |key: &str| values.get(&format!("tokenizer.ggml.{key}"));
    let list = |key: &str| get(key).and_then(Value::as_array);
    let tokens = list("tokens").ok_or("it has no `tokenizer.ggml.tokens`")?;
    match get("model").and_then(Value::as_str).unwrap_or_default() {
        "gpt2" => {}
        "llama" => return pieces(values, tokens),
        model => {
            return Err(format!(
                "`tokenizer.ggml.model` is `{model}`; vocabularies of the kinds `gpt2` and `llama` are read"
            ));
        }
    }
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
    Ok(Vocabulary {
        tokenizer: ("tokenizer.json", tokenizer),
        config: config(values, tokens),
    })
}

/// The pieces of a SentencePiece model, as llama.cpp numbers their kinds (`llama_token_type` in `llama.h`).
fn pieces(values: &BTreeMap<String, Value>, tokens: &[Value]) -> Result<Vocabulary, String> {
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
    let mut config = config(values, tokens);
    for key in ["add_bos_token", "add_eos_token"] {
        if let Some(flag) = get(key) {
            config[key] = flag.clone();
        }
    }
    Ok(Vocabulary {
        tokenizer: ("tokenizer.pieces.json", tokenizer),
        config,
    })
}

/// `tokenizer_config.json`: special tokens and the template.
fn config(values: &BTreeMap<String, Value>, tokens: &[Value]) -> Value {
    let token = |key: &str| {
        let id = values.get(&format!("tokenizer.ggml.{key}"))?.as_u64()?;
        tokens.get(usize::try_from(id).ok()?)
    };
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
    config.into()
}
