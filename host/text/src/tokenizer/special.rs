//! The names that a model's files give to tokens: begin, end, padding, and what ends an answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The strings of a tokenizer's special tokens, as templates name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of text, `bos_token` in templates.
    pub bos: Option<String>,
    /// End of text, `eos_token` in templates.
    pub eos: Option<String>,
    /// Unknown text, `unk_token` in templates.
    pub unk: Option<String>,
    /// Padding, `pad_token` in templates.
    pub pad: Option<String>,
    /// Every other `…_token` the files name (`image_token`, `sep_token`, …), by that key.
    pub other: BTreeMap<String, String>,
}

/// A token that ends a model's answer, and which file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub token: String,
    /// The file it was read from, or `eos_token` for the tokenizer's own.
    pub from: String,
}

impl SpecialTokens {
    /// Every pair of template variable and string.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = [
            ("bos_token", &self.bos),
            ("eos_token", &self.eos),
            ("unk_token", &self.unk),
            ("pad_token", &self.pad),
        ];
        named
            .into_iter()
            .filter_map(|(key, token)| Some((key, token.as_deref()?)))
            .chain(
                self.other
                    .iter()
                    .map(|(key, token)| (key.as_str(), token.as_str())),
            )
    }

    /// The string under a name.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.variables()
            .find(|(name, _)| *name == key)
            .map(|(_, token)| token)
    }

    /// Names a token, unless that name is taken.
    pub(super) fn set(&mut self, key: &str, token: &str) {
        let slot = match key {
            "bos_token" => &mut self.bos,
            "eos_token" => &mut self.eos,
            "unk_token" => &mut self.unk,
            "pad_token" => &mut self.pad,
            _ => {
                self.other
                    .entry(key.to_owned())
                    .or_insert_with(|| token.to_owned());
                return;
            }
        };
        if slot.is_none() {
            *slot = Some(token.to_owned());
        }
    }
}

/// Special tokens by the files that name them; the first file that names one wins, which is said where they differ.
pub fn named_tokens(files: &[(&str, &Value)], notes: &mut Vec<String>) -> SpecialTokens {
    let mut special = SpecialTokens::default();
    let mut said_by: BTreeMap<String, &str> = BTreeMap::new();
    for (file, config) in files {
        for part in [*config, &config["extra_special_tokens"]] {
            let Some(map) = part.as_object() else { continue };
            for (key, value) in map.iter().filter(|(key, _)| key.ends_with("_token")) {
                let Some(token) = token_text(value) else { continue };
                match (special.get(key), said_by.get(key)) {
                    (Some(known), Some(first)) if first != file && known != token => notes.push(format!(
                        "`{file}` says that `{key}` is `{token}`, `{first}` that it is `{known}`: that is taken"
                    )),
                    _ => {}
                }
                special.set(key, token);
                said_by.entry(key.clone()).or_insert(file);
            }
        }
    }
    special
}

/// A token is a string, or an object with its string under `content`.
pub fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// The files that name end tokens, the first that names any counts.
pub const END_TOKEN_FILES: [&str; 2] = ["generation_config.json", "config.json"];

/// The end tokens of the first of `configs` that names some, and the tokenizer's.
pub fn end_tokens(
    configs: impl IntoIterator<Item = (&'static str, Option<Value>)>,
    special: &SpecialTokens,
    token: impl Fn(u32) -> Option<String>,
    id_of: impl Fn(&str) -> Option<u32>,
    notes: &mut Vec<String>,
) -> Vec<EndToken> {
    let mut found: Vec<EndToken> = Vec::new();
    let mut add = |id: u32, from: &str| match token(id) {
        Some(token) if found.iter().all(|end| end.id != id) => {
            found.push(EndToken {
                id,
                token,
                from: from.to_owned(),
            });
        }
        Some(_) => {}
        None => notes.push(format!(
            "`{from}` names end token {id}, which the vocabulary lacks"
        )),
    };
    for (name, config) in configs {
        let Some(config) = config else { continue };
        let mut ids = end_token_ids(&config["eos_token_id"]);
        if ids.is_empty() {
            ids = end_token_ids(&config["text_config"]["eos_token_id"]);
        }
        ids.iter().for_each(|id| add(*id, name));
        if !ids.is_empty() {
            break;
        }
    }
    if let Some(id) = special.eos.as_deref().and_then(id_of) {
        add(id, "eos_token");
    }
    found
}

/// An id or a list of ids.
fn end_token_ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: BTreeSet<u32> = match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    };
    ids.into_iter().collect()
}
