//! SentencePiece's normaliser: characters replaced by a table, spaces counted and marked, symbols left alone.
//!
//! The library's `Precompiled` goes by grapheme clusters, and loses combining marks that SentencePiece keeps. This
//! goes from left to right by the longest match, as `src/normalizer.cc` of github.com/google/sentencepiece does.

use std::collections::HashSet;

use super::proto::{ModelProto, PieceKind};
use crate::tokenizer::guard::look;

const SPACE: &str = "▁";
/// The longest user-defined symbol: each place of a text is compared with all lengths up to it.
const MAX_SYMBOL: usize = 512;
/// Places between two looks at the clock.
const LOOK: usize = 256;

/// What is done to a text.
#[derive(Debug, Clone)]
pub struct Rules {
    charsmap: Option<Charsmap>,
    symbols: Symbols,
    prefix: Prefix,
    space_behind: bool,
    fewer_spaces: bool,
    escape_spaces: bool,
}

/// Where the dummy space goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Nowhere.
    Never,
    /// To the whole text.
    First,
    /// To each part of it between special tokens.
    Always,
}

impl Rules {
    /// The rules of a model.
    pub fn new(model: &ModelProto, prefix: Prefix) -> Result<Self, String> {
        Ok(Self {
            charsmap: match model.charsmap.is_empty() {
                true => None,
                false => Some(Charsmap::read(&model.charsmap)?),
            },
            symbols: Symbols::new(model)?,
            prefix,
            space_behind: model.space_behind,
            fewer_spaces: model.fewer_spaces,
            escape_spaces: model.escape_spaces,
        })
    }

    /// Whether a text may be given in parts that are cut within words.
    pub fn are_local(&self) -> bool {
        !self.space_behind
    }

    /// Whether a symbol is longer than what is before such a cut, or behind it.
    pub fn may_cross(&self, before: char, behind: char) -> bool {
        let pair = String::from_iter([before, behind]);
        self.symbols.texts.iter().any(|text| text.contains(&pair))
    }

    /// A text, or a part of one, in the form in which pieces are looked for. What `continues` a part has no dummy space.
    pub fn apply(&self, text: &str, is_first: bool, continues: bool) -> String {
        let space = if self.escape_spaces { SPACE } else { " " };
        let mut rest = text;
        if self.fewer_spaces {
            while let (" ", used) = self.next(rest) {
                rest = &rest[used..];
            }
        }
        let mut normal = String::with_capacity(rest.len() + rest.len() / 2);
        if rest.is_empty() {
            return normal;
        }
        let dummy = match self.prefix {
            Prefix::Never => false,
            Prefix::First => is_first,
            Prefix::Always => true,
        } && !continues;
        if dummy && !self.space_behind {
            normal.push_str(space);
        }
        let mut behind_space = self.fewer_spaces;
        let mut steps = 0usize;
        while !rest.is_empty() {
            let (mut part, used) = self.next(rest);
            if behind_space {
                part = part.trim_start_matches(' ');
            }
            if !part.is_empty() {
                match self.escape_spaces {
                    true => part
                        .split_inclusive(' ')
                        .for_each(|word| match word.strip_suffix(' ') {
                            Some(word) => normal.extend([word, SPACE]),
                            None => normal.push_str(word),
                        }),
                    false => normal.push_str(part),
                }
                behind_space = self.fewer_spaces && part.ends_with(' ');
            }
            rest = &rest[used..];
            // Symbols are looked for at each place, each in all lengths.
            steps += 1;
            if steps.is_multiple_of(LOOK) {
                look();
            }
        }
        if self.fewer_spaces {
            while let Some(shorter) = normal.strip_suffix(space) {
                normal.truncate(shorter.len());
            }
        }
        if dummy && self.space_behind {
            normal.push_str(space);
        }
        normal
    }

    /// What the begin of a text becomes, and how many of its bytes that is.
    fn next<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(symbol) = self.symbols.longest(text) {
            return (symbol, symbol.len());
        }
        if let Some(found) = self.charsmap.as_ref().and_then(|map| map.longest(text)) {
            return found;
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }
}

/// Texts that are found as they are: a model's user-defined symbols.
#[derive(Debug, Clone)]
struct Symbols {
    texts: HashSet<String>,
    /// The bytes they begin with.
    starts: HashSet<u8>,
    longest: usize,
}

impl Symbols {
    fn new(model: &ModelProto) -> Result<Self, String> {
        let symbols = model
            .pieces
            .iter()
            .filter(|piece| piece.kind == PieceKind::UserDefined);
        let texts: HashSet<String> = symbols.map(|piece| piece.text.clone()).collect();
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        if longest > MAX_SYMBOL {
            return Err(format!(
                "it has a user-defined symbol of {longest} bytes, more than {MAX_SYMBOL}"
            ));
        }
        Ok(Self {
            starts: texts.iter().filter_map(|text| text.bytes().next()).collect(),
            texts,
            longest,
        })
    }

    /// The longest of them that a text begins with.
    fn longest<'a>(&self, text: &'a str) -> Option<&'a str> {
        if !self.starts.contains(text.as_bytes().first()?) {
            return None;
        }
        (1..=self.longest.min(text.len()))
            .rev()
            .filter_map(|length| text.get(..length))
            .find(|start| self.texts.contains(*start))
    }
}

/// A table of replacements as SentencePiece stores it: the length of a double-array trie, the trie in units of 32
/// bits, then the replacements, each ended by a zero byte. The layout of a unit is that of
/// github.com/s-yata/darts-clone.
#[derive(Debug, Clone)]
struct Charsmap {
    trie: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let bad = || "its `precompiled_charsmap` is damaged".to_owned();
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| bad())?;
        let (trie, replacements) = rest.split_at_checked(length).ok_or_else(bad)?;
        let (units, odd) = trie.as_chunks::<4>();
        // Each replacement is looked at once, here: later it is only cut out.
        if units.is_empty() || !odd.is_empty() || std::str::from_utf8(replacements).is_err() {
            return Err(bad());
        }
        Ok(Self {
            trie: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_vec(),
        })
    }

    /// The replacement of the longest begin of a text that has one, and how many bytes it replaces.
    fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let mut found = None;
        let mut unit = *self.trie.first()?;
        let mut at = offset(unit);
        for (index, byte) in text.bytes().enumerate() {
            at ^= usize::from(byte);
            unit = match self.trie.get(at) {
                Some(unit) if unit & 0x8000_00FF == u32::from(byte) => *unit,
                _ => break,
            };
            at ^= offset(unit);
            let has_value = unit >> 8 & 1 == 1;
            if let Some(value) = self.trie.get(at).filter(|_| has_value) {
                found = Some((value & 0x7FFF_FFFF, index + 1));
            }
        }
        let (start, used) = found.filter(|(_, used)| text.is_char_boundary(*used))?;
        let replacement = self.replacements.get(usize::try_from(start).ok()?..)?;
        let end = replacement.iter().position(|byte| *byte == 0)?;
        Some((std::str::from_utf8(&replacement[..end]).ok()?, used))
    }
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}
