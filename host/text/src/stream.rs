//! Ids to text, one id at a time: what is given out is whole characters, and all of it together is the decoded text.

pub(crate) mod bytes;

use std::collections::HashSet;
use std::sync::Arc;

use tokenizers::decoders::DecoderWrapper;

use crate::tokenizer::{Tokenizer, TokenizerError};
use bytes::{Utf8Stream, byte_level_bytes, fallback_byte};

/// Decodes a growing list of ids, each in constant time.
///
/// The pieces joined equal [`Tokenizer::decode`] of all ids, with one exception: where a run of byte tokens
/// (`<0xE4>`) is not valid UTF-8, the library gives up the whole run; here its good characters stay, because they
/// have been shown.
pub struct StreamDecoder {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    keep: HashSet<u32>,
    engine: Engine,
}

/// Which special tokens become text.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Leave special tokens out.
    pub skip_special: bool,
    /// Special tokens to give out all the same (the markers of reasoning, for example).
    pub keep: Vec<u32>,
}

enum Engine {
    /// Every token is bytes: the whole is one UTF-8 stream.
    ByteLevel(Utf8Stream),
    /// Any other decoder: decode the last unit and the new one together, give what is new.
    Window(Window),
}

/// A unit is one token, or the byte tokens of one character.
struct Window {
    byte_fallback: bool,
    last: Vec<u32>,
    last_text: String,
    /// Byte tokens that are not yet a character, and their bytes.
    held: Vec<u32>,
    held_bytes: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder at the start of a text.
    pub fn new(tokenizer: Arc<Tokenizer>, options: StreamOptions) -> Self {
        let engine = match tokenizer.decoder() {
            Some(decoder) if is_byte_level(decoder) => Engine::ByteLevel(Utf8Stream::default()),
            decoder => Engine::Window(Window {
                byte_fallback: decoder.is_some_and(has_byte_fallback),
                last: Vec::new(),
                last_text: String::new(),
                held: Vec::new(),
                held_bytes: Vec::new(),
            }),
        };
        Self {
            tokenizer,
            skip_special: options.skip_special,
            keep: options.keep.into_iter().collect(),
            engine,
        }
    }

    /// Whether an id is left out of the text.
    pub fn skips(&self, id: u32) -> bool {
        self.skip_special && !self.keep.contains(&id) && self.tokenizer.is_special(id)
    }

    /// Takes the next id and gives the text that is now certain; it may be empty.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        if self.skips(id) {
            return Ok(String::new());
        }
        let Some(token) = self.tokenizer.token(id).filter(|token| !token.is_empty()) else {
            return Ok(String::new());
        };
        match &mut self.engine {
            Engine::ByteLevel(stream) => Ok(stream.push(&byte_level_bytes(&token))),
            Engine::Window(window) => window.push(&self.tokenizer, id, &token),
        }
    }

    /// Ends the text and gives what was held back: U+FFFD for an unfinished character.
    pub fn finish(&mut self) -> String {
        match &mut self.engine {
            Engine::ByteLevel(stream) => stream.finish(),
            Engine::Window(window) => window.give_up(window.held.len()),
        }
    }
}

/// What each id writes, whatever stands before it; `None` for special tokens and ids without a token.
pub(crate) fn written_bytes(tokenizer: &Tokenizer, ids: u32) -> Vec<Option<Vec<u8>>> {
    let byte_level = tokenizer.decoder().is_some_and(is_byte_level);
    let byte_fallback = tokenizer.decoder().is_some_and(has_byte_fallback);
    // Decoders treat the first token of a text in their own way: each is decoded behind another.
    let before = (0..ids).find(|id| {
        let token = tokenizer.token(*id);
        token.is_some_and(|token| token.len() == 1 && token.as_bytes()[0].is_ascii_alphabetic())
    });
    let before_text = before.and_then(|id| tokenizer.decode(&[id], false).ok());
    let written = |id: u32| {
        let token = tokenizer.token(id).filter(|token| !token.is_empty())?;
        if tokenizer.is_special(id) {
            return None;
        }
        if byte_level {
            return Some(byte_level_bytes(&token));
        }
        if let Some(byte) = fallback_byte(&token).filter(|_| byte_fallback) {
            return Some(vec![byte]);
        }
        let both = before.and_then(|before| tokenizer.decode(&[before, id], false).ok());
        let rest = both.as_deref().zip(before_text.as_deref());
        let rest = rest.and_then(|(both, before)| both.strip_prefix(before));
        let text = match rest {
            Some(rest) => rest.to_owned(),
            None => tokenizer.decode(&[id], false).ok()?,
        };
        Some(text.into_bytes())
    };
    (0..ids).map(written).collect()
}

impl Window {
    fn push(&mut self, tokenizer: &Tokenizer, id: u32, token: &str) -> Result<String, TokenizerError> {
        let Some(byte) = fallback_byte(token).filter(|_| self.byte_fallback) else {
            let lost = self.give_up(self.held.len());
            return Ok(lost + &self.advance(tokenizer, vec![id])?);
        };
        self.held.push(id);
        self.held_bytes.push(byte);
        let mut text = String::new();
        while !self.held.is_empty() {
            match std::str::from_utf8(&self.held_bytes) {
                Ok(_) => {
                    self.held_bytes.clear();
                    let unit = std::mem::take(&mut self.held);
                    text += &self.advance(tokenizer, unit)?;
                }
                Err(error) => match error.error_len() {
                    Some(bad) => text += &self.give_up(error.valid_up_to() + bad),
                    None => break,
                },
            }
        }
        Ok(text)
    }

    /// The text that a unit adds after the last one.
    fn advance(&mut self, tokenizer: &Tokenizer, unit: Vec<u32>) -> Result<String, TokenizerError> {
        let unit_text = tokenizer.decode(&unit, false)?;
        let added = if self.last.is_empty() {
            unit_text.clone()
        } else {
            let both = [self.last.as_slice(), &unit].concat();
            let text = tokenizer.decode(&both, false)?;
            text.strip_prefix(self.last_text.as_str())
                .unwrap_or(&unit_text)
                .to_owned()
        };
        self.last = unit;
        self.last_text = unit_text;
        Ok(added)
    }

    /// Replaces the first `count` held bytes, one character each, as the byte-fallback decoder does.
    fn give_up(&mut self, count: usize) -> String {
        self.held.drain(..count);
        self.held_bytes.drain(..count);
        String::from(char::REPLACEMENT_CHARACTER).repeat(count)
    }
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(steps) => {
            let mut steps = steps
                .get_decoders()
                .iter()
                .filter(|step| !matches!(step, DecoderWrapper::Fuse(_)));
            matches!(
                (steps.next(), steps.next()),
                (Some(DecoderWrapper::ByteLevel(_)), None)
            )
        }
        _ => false,
    }
}

fn has_byte_fallback(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteFallback(_) => true,
        DecoderWrapper::Sequence(steps) => steps.get_decoders().iter().any(has_byte_fallback),
        _ => false,
    }
}
