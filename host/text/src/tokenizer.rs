//! The tokenizer of a model folder: `tokenizer.json`, and what the files beside it say about special tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::normalizers::replace::Replace;

use crate::stream::bytes::is_byte_level_vocabulary;

/// Text to ids and back.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    end_tokens: Vec<EndToken>,
    notes: Vec<String>,
}

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

/// Why a tokenizer could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The folder has no `tokenizer.json`.
    #[error(
        "no `tokenizer.json` in `{folder}`; fetch the model's tokenizer files again, or convert its tokenizer \
         to the `tokenizer.json` form"
    )]
    Missing {
        /// The folder looked in.
        folder: PathBuf,
    },
    /// The file is there but cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a tokenizer.
    #[error("`{path}` is not a valid tokenizer: {reason}; the file may be truncated, fetch it again")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Text could not be turned into ids.
    #[error("cannot encode {length} bytes of text: {reason}")]
    Encode {
        /// The length of the text.
        length: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// Ids could not be turned into text.
    #[error("cannot decode {count} tokens: {reason}")]
    Decode {
        /// How many ids.
        count: usize,
        /// What the tokenizer said.
        reason: String,
    },
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder.
    ///
    /// Only `tokenizer.json` must be there. `special_tokens_map.json`, `tokenizer_config.json`,
    /// `generation_config.json` and `config.json` are read for special and end tokens when they are; what cannot
    /// be used in them becomes a note, not an error.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let folder = folder.as_ref();
        let path = folder.join("tokenizer.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(TokenizerError::Missing {
                    folder: folder.to_owned(),
                });
            }
            Err(source) => return Err(TokenizerError::Unreadable { path, source }),
        };
        let mut inner = parse(&bytes).map_err(|reason| TokenizerError::Invalid { path, reason })?;
        let mut notes = Vec::new();
        // A prompt is never cut or padded behind the caller's back, whatever the file was saved with.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Invalid {
                path: folder.join("tokenizer.json"),
                reason: error.to_string(),
            })?;
        supply_decoder(&mut inner, &mut notes);
        let special = read_special_tokens(folder, &mut notes);
        let mut tokenizer = Self {
            inner,
            special,
            end_tokens: Vec::new(),
            notes,
        };
        tokenizer.end_tokens = tokenizer.read_end_tokens(folder);
        Ok(tokenizer)
    }

    /// The ids of a text; with `add_special_tokens`, also what the tokenizer puts around it (a begin token, say).
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|error| TokenizerError::Encode {
                length: text.len(),
                reason: error.to_string(),
            })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a rendered prompt: with the special tokens the tokenizer adds, but one begin token where the
    /// template has printed it already.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode(prompt, true)?;
        let bos = self.special.bos.as_deref().and_then(|bos| self.token_id(bos));
        if bos.is_some_and(|bos| ids.starts_with(&[bos, bos])) {
            ids.remove(0);
        }
        Ok(ids)
    }

    /// The text of ids, by the decoder of `tokenizer.json`. Ids outside the vocabulary add nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|error| TokenizerError::Decode {
                count: ids.len(),
                reason: error.to_string(),
            })
    }

    /// The id of a token, if the vocabulary has it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether an id is a special token: one that stands for structure, not for text.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added
            .simple_id_to_token(id)
            .is_some_and(|token| added.is_special_token(&token))
    }

    /// How many tokens the vocabulary has, added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The special tokens' strings, for templates.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The tokens the model's files say end an answer.
    pub fn end_tokens(&self) -> &[EndToken] {
        &self.end_tokens
    }

    /// What was assumed or ignored while reading, for the user.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The decoder in use.
    pub(crate) fn decoder(&self) -> Option<&DecoderWrapper> {
        self.inner.get_decoder()
    }

    /// The end tokens of `generation_config.json` (or, where it names none, `config.json`), and the tokenizer's.
    fn read_end_tokens(&mut self, folder: &Path) -> Vec<EndToken> {
        let mut found: Vec<EndToken> = Vec::new();
        let mut add = |id: u32, from: &str| match self.inner.id_to_token(id) {
            Some(token) if found.iter().all(|end| end.id != id) => {
                found.push(EndToken {
                    id,
                    token,
                    from: from.to_owned(),
                });
            }
            Some(_) => {}
            None => self.notes.push(format!(
                "`{from}` names end token {id}, which the vocabulary lacks"
            )),
        };
        for name in ["generation_config.json", "config.json"] {
            let Some(config) = read_json(&folder.join(name), &mut Vec::new()) else {
                continue;
            };
            let mut ids = end_token_ids(&config["eos_token_id"]);
            if ids.is_empty() {
                ids = end_token_ids(&config["text_config"]["eos_token_id"]);
            }
            ids.iter().for_each(|id| add(*id, name));
            if !ids.is_empty() {
                break;
            }
        }
        if let Some(id) = self
            .special
            .eos
            .as_deref()
            .and_then(|eos| self.inner.token_to_id(eos))
        {
            add(id, "eos_token");
        }
        found
    }
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

    fn set(&mut self, key: &str, token: &str) {
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

/// Parses `tokenizer.json`; a parser that panics on a malformed file counts as a parse error.
fn parse(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    // Told apart here because the library's own message for either is only a line and a column.
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !value["model"].is_object() {
        return Err("it has no `model`".to_owned());
    }
    match std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes)) {
        Ok(Ok(tokenizer)) => Ok(tokenizer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the tokenizer library gave up on it".to_owned()),
    }
}

/// Without a decoder the library joins raw tokens with spaces, which shows `Ġ` and `▁`. The vocabulary tells which
/// decoder belongs to it.
fn supply_decoder(inner: &mut tokenizers::Tokenizer, notes: &mut Vec<String>) {
    if inner.get_decoder().is_some() {
        return;
    }
    let vocabulary = inner.get_vocab(false);
    let decoder = if is_byte_level_vocabulary(vocabulary.keys().map(String::as_str)) {
        notes.push(
            "`tokenizer.json` has no decoder; its vocabulary is byte-level and is decoded so".to_owned(),
        );
        DecoderWrapper::ByteLevel(ByteLevel::default())
    } else {
        notes.push(
            "`tokenizer.json` has no decoder; `▁` is read as a space and `<0x..>` as a byte".to_owned(),
        );
        let mut steps = vec![
            DecoderWrapper::ByteFallback(ByteFallback::new()),
            DecoderWrapper::Fuse(Fuse::new()),
        ];
        if let Ok(space) = Replace::new("▁", " ") {
            steps.insert(0, DecoderWrapper::Replace(space));
        }
        DecoderWrapper::Sequence(Sequence::new(steps))
    };
    inner.with_decoder(Some(decoder));
}

/// Special tokens by the files that name them; the first file that names one wins.
fn read_special_tokens(folder: &Path, notes: &mut Vec<String>) -> SpecialTokens {
    let mut special = SpecialTokens::default();
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some(config) = read_json(&folder.join(name), notes) else {
            continue;
        };
        for part in [&config, &config["extra_special_tokens"]] {
            let Some(map) = part.as_object() else { continue };
            for (key, value) in map.iter().filter(|(key, _)| key.ends_with("_token")) {
                // A token is a string, or an object with its string under `content`.
                if let Some(token) = value.as_str().or_else(|| value["content"].as_str()) {
                    special.set(key, token);
                }
            }
        }
    }
    special
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

/// A JSON file that may be absent; one that cannot be read becomes a note.
fn read_json(path: &Path, notes: &mut Vec<String>) -> Option<Value> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            notes.push(format!("cannot read `{}`: {error}", path.display()));
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            notes.push(format!(
                "`{}` is not valid JSON and is ignored: {error}",
                path.display()
            ));
            None
        }
    }
}
