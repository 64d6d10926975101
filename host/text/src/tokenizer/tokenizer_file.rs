//! What a `tokenizer.json` says, read in one pass.
//!
//! The library keeps a file's vocabulary and merges as JSON values, several times over, before it makes a model of them. Here a model of byte
//! pairs, which nearly all language models have, is read as what it is; other models are left to the library. What the file asks for is
//! looked at by [`excess`](super::guard::excess) before any of it is made.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, PostProcessorWrapper};

use super::Inner;
use super::cutter::Cutter;
use super::normaliser::Normaliser;
use super::words::Words;

/// A `tokenizer.json`. How texts are padded and cut off is not read: a prompt never is behind the caller's back, whatever the file was saved with.
#[derive(Deserialize)]
pub struct TokenizerFile {
    pub version: Option<String>,
    /// Tokens beside the model's own.
    #[serde(default)]
    pub added_tokens: Vec<NumberedToken>,
    #[serde(default)]
    pub normalizer: Value,
    #[serde(default)]
    pub pre_tokenizer: Value,
    #[serde(default)]
    pub post_processor: Value,
    #[serde(default)]
    pub decoder: Value,
    /// What makes ids of words.
    #[serde(default)]
    pub model: FileModel,
}

/// A token with the id that it should have. The library looks it up in the model, or gives it the next.
#[derive(Deserialize)]
pub struct NumberedToken {
    pub id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// A file's `model`.
#[derive(Default)]
pub enum FileModel {
    #[default]
    Missing,
    Pairs(BytePairs),
    /// Any other, and byte pairs whose `type` is not the first that the file says of them.
    Other(Value),
}

/// A model of byte pairs (<https://aclanthology.org/P16-1162/>), in the file's names.
#[derive(Deserialize)]
pub struct BytePairs {
    pub vocab: Vocab,
    #[serde(deserialize_with = "merges")]
    pub merges: Merges,
    pub dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

impl TokenizerFile {
    /// Reads a file's text.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        // A list would be taken for the parts in their order.
        match json.trim_ascii_start().starts_with(b"[") {
            true => Err("it is a list, and has no `model`".to_owned()),
            false => serde_json::from_slice(json).map_err(|error| error.to_string()),
        }
    }

    /// That of byte pairs, with nothing around them.
    pub fn of_pairs(pairs: BytePairs) -> Self {
        Self {
            version: None,
            added_tokens: Vec::new(),
            normalizer: Value::Null,
            pre_tokenizer: Value::Null,
            post_processor: Value::Null,
            decoder: Value::Null,
            model: FileModel::Pairs(pairs),
        }
    }

    /// Bytes of text that are normalised while the tokenizer is made.
    pub fn bytes(&self) -> usize {
        self.added_tokens
            .iter()
            .map(|added| added.token.content.len())
            .sum()
    }

    /// Makes the tokenizer, or says what is wrong with the file.
    pub fn make(self) -> Result<Inner, String> {
        if let Some(version) = self.version.filter(|version| version != "1.0") {
            return Err(format!("its `version` is `{version}`, and 1.0 is known"));
        }
        let model = match self.model {
            FileModel::Missing => return Err("it has no `model`".to_owned()),
            FileModel::Pairs(pairs) => pairs.make()?,
            FileModel::Other(model) => needed("model", model)?,
        };
        let mut inner = Inner::new(Words::from(model));
        inner
            .with_normalizer(part::<Normaliser>("normalizer", self.normalizer)?)
            .map_err(|error| error.to_string())?
            .with_pre_tokenizer(part::<Cutter>("pre_tokenizer", self.pre_tokenizer)?)
            .with_post_processor(part::<PostProcessorWrapper>(
                "post_processor",
                self.post_processor,
            )?)
            .with_decoder(part::<DecoderWrapper>("decoder", self.decoder)?);
        let added = self.added_tokens.into_iter().map(|added| added.token);
        inner.add_tokens(added).map_err(|error| error.to_string())?;
        Ok(inner)
    }
}

impl BytePairs {
    /// Those of a vocabulary, in which the pair that comes first is joined first.
    pub fn new(vocab: Vocab, merges: Merges) -> Self {
        Self {
            vocab,
            merges,
            dropout: None,
            unk_token: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: None,
            byte_fallback: None,
            ignore_merges: None,
        }
    }

    /// The same, where a word that is a token is that token, whatever its parts would become.
    pub fn ignoring_merges(self) -> Self {
        Self {
            ignore_merges: Some(true),
            ..self
        }
    }

    fn make(self) -> Result<ModelWrapper, String> {
        let mut made = BPE::builder()
            .vocab_and_merges(self.vocab, self.merges)
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(dropout) = self.dropout {
            made = made.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            made = made.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            made = made.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            made = made.end_of_word_suffix(suffix);
        }
        made.build()
            .map(ModelWrapper::BPE)
            .map_err(|error| error.to_string())
    }
}

/// A part that may be missing.
fn part<T: DeserializeOwned>(name: &str, value: Value) -> Result<Option<T>, String> {
    match value {
        Value::Null => Ok(None),
        value => needed(name, value).map(Some),
    }
}

fn needed<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("its `{name}`: {error}"))
}

impl<'de> Deserialize<'de> for FileModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = FileModel;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a `model`")
    }

    fn visit_unit<E: Error>(self) -> Result<FileModel, E> {
        Ok(FileModel::Missing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileModel, A::Error> {
        let mut model = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<Value>()?;
            if model.is_empty() && key == "type" && value == "BPE" {
                return BytePairs::deserialize(MapAccessDeserializer::new(map)).map(FileModel::Pairs);
            }
            model.insert(key, value);
        }
        Ok(FileModel::Other(Value::Object(model)))
    }
}

fn merges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Merges, D::Error> {
    deserializer.deserialize_seq(MergesVisitor)
}

struct MergesVisitor;

impl<'de> Visitor<'de> for MergesVisitor {
    type Value = Merges;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
        let mut merges = Vec::new();
        while let Some(Merge(pair)) = list.next_element()? {
            merges.extend(pair);
        }
        Ok(merges)
    }
}

/// Two tokens, or, in files of before 2024, a text of two tokens with a space between; a text that names a version is none.
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = Merge;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a merge of two tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Merge, E> {
        match text.split_once(' ') {
            _ if text.starts_with("#version") => Ok(Merge(None)),
            Some((left, right)) if !right.contains(' ') => {
                Ok(Merge(Some((left.to_owned(), right.to_owned()))))
            }
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
        let (left, right) = (list.next_element()?, list.next_element()?);
        match (left, right, list.next_element::<IgnoredAny>()?) {
            (Some(left), Some(right), None) => Ok(Merge(Some((left, right)))),
            _ => Err(A::Error::custom("expected a merge of two tokens")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXTS: [&str; 3] = ["abab", "ab a", "bc"];

    /// The library's own tokenizer of a file.
    fn of_the_library(file: &Value) -> Result<Vec<Vec<u32>>, String> {
        let made = tokenizers::Tokenizer::from_bytes(file.to_string()).map_err(|error| error.to_string())?;
        let ids = |text: &&str| made.encode(*text, true).unwrap().get_ids().to_vec();
        Ok(TEXTS.iter().map(ids).collect())
    }

    fn ours(file: &Value) -> Result<Vec<Vec<u32>>, String> {
        let made = TokenizerFile::read(file.to_string().as_bytes())?.make()?;
        let ids = |text: &&str| made.encode(*text, true).unwrap().get_ids().to_vec();
        Ok(TEXTS.iter().map(ids).collect())
    }

    /// A file with these merges, and with what is said of its model besides.
    fn pairs(merges: Value, besides: Value) -> Value {
        let mut model = json!({
            "type": "BPE",
            "vocab": {"a": 0, "b": 1, "ab": 2, "abab": 3, "c": 4, "#version": 5, "##b": 6, "a##b": 7, "bc": 8, "c$": 9, "?": 10, "<0x20>": 11},
            "merges": merges,
        });
        model
            .as_object_mut()
            .unwrap()
            .extend(besides.as_object().unwrap().clone());
        json!({"version": "1.0", "added_tokens": [], "model": model})
    }

    #[test]
    fn byte_pairs_are_read_as_the_library_reads_them() {
        let joined = json!([["a", "b"], ["ab", "ab"]]);
        let files = [
            pairs(joined.clone(), json!({})),
            pairs(json!(["a b", "ab ab"]), json!({})),
            pairs(json!(["#version: 0.2", "a b", "ab ab"]), json!({})),
            pairs(joined.clone(), json!({"ignore_merges": true})),
            pairs(joined.clone(), json!({"unk_token": "?"})),
            pairs(joined.clone(), json!({"unk_token": "?", "fuse_unk": true})),
            pairs(joined.clone(), json!({"byte_fallback": true})),
            pairs(json!([["b", "c"]]), json!({"end_of_word_suffix": "$"})),
            pairs(json!([["a", "##b"]]), json!({"continuing_subword_prefix": "##"})),
            pairs(
                joined.clone(),
                json!({"dropout": null, "fuse_unk": null, "another": [1]}),
            ),
        ];
        let mut different = std::collections::BTreeSet::new();
        for file in &files {
            let ids = of_the_library(file).unwrap();
            assert_eq!(ours(file).unwrap(), ids, "{file}");
            different.insert(ids);
        }
        // What is said of a model makes a difference to these texts.
        assert!(different.len() >= 6, "{different:?}");
        // The same where the model's `type` comes last, or not at all.
        let mut turned = files[0].clone();
        let model = turned["model"].as_object_mut().unwrap();
        let kind = model.shift_remove("type").unwrap();
        assert_eq!(ours(&json!({"model": model})), of_the_library(&files[0]));
        model.insert("type".to_owned(), kind);
        assert_eq!(ours(&turned), of_the_library(&files[0]));
    }

    #[test]
    fn what_the_library_refuses_is_refused() {
        let joined = json!([["a", "b"]]);
        for (file, words) in [
            (
                pairs(json!([["a", "b", "c"]]), json!({})),
                "a merge of two tokens",
            ),
            (pairs(json!([["a"]]), json!({})), "a merge of two tokens"),
            (pairs(json!(["a b c"]), json!({})), "a merge of two tokens"),
            (pairs(json!([["a", 1]]), json!({})), "expected a string"),
            (pairs(json!([["a", "c"]]), json!({})), "out of vocabulary"),
            (pairs(joined.clone(), json!({"vocab": {"a": -1}})), "expected u32"),
            (pairs(joined.clone(), json!({"dropout": 2.0})), "ropout"),
            (
                json!({"model": {"type": "BPE", "merges": []}}),
                "missing field `vocab`",
            ),
            (json!({"model": {"type": "Other"}}), "its `model`"),
            (
                json!({"version": "2.0", "model": pairs(joined, json!({}))["model"]}),
                "`2.0`",
            ),
        ] {
            assert!(of_the_library(&file).is_err(), "{file}");
            let error = ours(&file).unwrap_err();
            assert!(error.contains(words), "{error} for {file}");
        }
    }

    #[test]
    fn a_part_that_is_said_twice_is_refused() {
        let twice = br#"{"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": null, "normalizer": null}"#;
        assert!(
            TokenizerFile::read(twice)
                .err()
                .unwrap()
                .contains("duplicate field")
        );
    }
}
