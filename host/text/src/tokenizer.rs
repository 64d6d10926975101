//! The tokenizer of a model folder: `tokenizer.json`, or the older files it can be made of, and what the files beside
//! them say about special tokens.
//!
//! [`open`] looks at what there is. `tokenizer.json` is the library's own form ([`tokenizer_file`]). Of `vocab.json` with `merges.txt`
//! ([`legacy`]) and of files of ranks ([`tiktoken`]) the same is made in memory, of SentencePiece models ([`sentencepiece`]) the library's
//! structures. Tokens that stand beside a vocabulary are added by [`added_tokens`]. What a file can
//! make the library do is bounded by [`guard`], [`normaliser`],
//! [`cutter`], [`pieces`] and [`words`], regular expressions by [`expression`], what can be read at all by [`files`].

mod added_tokens;
mod classes;
mod cutter;
mod error;
mod expression;
mod files;
mod guard;
mod legacy;
mod merges;
mod normaliser;
mod open;
mod pieces;
mod sentencepiece;
mod special;
mod tiktoken;
mod tokenizer_file;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::normalizers::replace::Replace;
use tokenizers::{AddedToken, PostProcessorWrapper, TokenizerImpl};

pub use error::TokenizerError;
pub use special::{EndToken, SpecialTokens};

use crate::stream::bytes::is_byte_level_vocabulary;
use cutter::Cutter;
use guard::guarded;
use normaliser::Normaliser;
use words::Words;

/// The library's tokenizer, with this crate's hand on what it does to a text.
type Inner = TokenizerImpl<Words, Normaliser, Cutter, PostProcessorWrapper, DecoderWrapper>;

/// What the user knows of a tokenizer that its files do not say.
#[derive(Debug, Clone, Default)]
pub struct TokenizerRules {
    /// The regular expression that cuts text, for files of ranks.
    pub pattern: Option<String>,
}

/// Text to ids and back.
pub struct Tokenizer {
    inner: Inner,
    special: SpecialTokens,
    end_tokens: Vec<EndToken>,
    notes: Vec<String>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder.
    ///
    /// There must be `tokenizer.json`, or `vocab.json` with `merges.txt`, a file of ranks, or a SentencePiece model.
    /// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `generation_config.json` and
    /// `config.json` are read for added, special and end tokens when they are there; what cannot be used in them
    /// becomes a note, not an error.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        Self::with_rules(folder, &TokenizerRules::default())
    }

    /// As [`Self::from_folder`], with what the user knows better.
    pub fn with_rules(folder: impl AsRef<Path>, rules: &TokenizerRules) -> Result<Self, TokenizerError> {
        let folder = folder.as_ref();
        let mut notes = Vec::new();
        let opened = open::open(folder, rules, &mut notes)?;
        let mut configs = Vec::new();
        for name in special::END_TOKEN_FILES {
            // What is wrong with these files is told by those who need the rest of them.
            configs.push((name, files::read_json(&folder.join(name), &mut Vec::new())?));
        }
        Ok(Self::finish(opened, configs, notes))
    }

    /// Makes the tokenizer of files that lie nowhere, by their names: `tokenizer.json`, and those that may be beside it. `path` is
    /// where they came from, for messages.
    pub fn of_texts(path: &Path, texts: &BTreeMap<String, String>) -> Result<Self, TokenizerError> {
        let mut notes = Vec::new();
        let opened = open::of_texts(path, texts, &mut notes)?;
        let config = |name| Some((name, serde_json::from_str(texts.get(name)?).ok()));
        let configs = special::END_TOKEN_FILES.into_iter().filter_map(config).collect();
        Ok(Self::finish(opened, configs, notes))
    }

    fn finish(
        open::Opened { mut inner, special }: open::Opened,
        configs: Vec<(&'static str, Option<Value>)>,
        mut notes: Vec<String>,
    ) -> Self {
        supply_decoder(&mut inner, &mut notes);
        let end_tokens = special::end_tokens(
            configs,
            &special,
            |id| inner.id_to_token(id),
            |token| inner.token_to_id(token),
            &mut notes,
        );
        Self {
            inner,
            special,
            end_tokens,
            notes,
        }
    }

    /// The same with tokens that it may lack: each new one gets the next id, in this order, as transformers' `add_tokens` gives them. What is
    /// there keeps its id.
    pub fn with_tokens(&self, tokens: &[(String, bool)]) -> Result<Self, TokenizerError> {
        let mut inner = self.inner.clone();
        // The library keeps what each thread remembers of a tokenizer for ever, and plugins may make very many.
        inner.with_model(self.inner.get_model().forgetful());
        let bytes = tokens.iter().map(|(text, _)| text.len()).sum();
        let tokens = tokens
            .iter()
            .map(|(text, special)| AddedToken::from(text.clone(), *special));
        guarded(bytes, || inner.add_tokens(tokens))
            .and_then(|added| added.map_err(|error| error.to_string()))
            .map_err(|reason| TokenizerError::Add { reason })?;
        Ok(Self {
            inner,
            special: self.special.clone(),
            end_tokens: self.end_tokens.clone(),
            notes: self.notes.clone(),
        })
    }

    /// The ids of a text; with `add_special_tokens`, also what the tokenizer puts around it (a begin token, say).
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        guarded(text.len(), || pieces::ids(&self.inner, text, add_special_tokens))
            .and_then(|ids| ids.map_err(|error| error.to_string()))
            .map_err(|reason| TokenizerError::Encode {
                length: text.len(),
                reason,
            })
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

    /// The text of ids, by the tokenizer's decoder. Ids outside the vocabulary add nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        guarded(0, || self.inner.decode(ids, skip_special))
            .and_then(|text| text.map_err(|error| error.to_string()))
            .map_err(|reason| TokenizerError::Decode {
                count: ids.len(),
                reason,
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

    /// What each token writes in the middle of a text, by id; `None` for special tokens, and for ids that the vocabulary passes over.
    pub fn token_bytes(&self) -> Vec<Option<Vec<u8>>> {
        let vocabulary = self.inner.get_vocab(true);
        let ids = vocabulary.values().max().map_or(0, |most| most + 1);
        crate::stream::written_bytes(self, ids)
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
}

/// Without a decoder the library joins raw tokens with spaces, which shows `Ġ` and `▁`. The vocabulary tells which
/// decoder belongs to it.
fn supply_decoder(inner: &mut Inner, notes: &mut Vec<String>) {
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
