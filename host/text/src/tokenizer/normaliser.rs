//! What is done to a text before it is cut: the library's normalisers, held to a size, or SentencePiece's own rules.

use std::cell::Cell;

use serde::{Deserialize, Deserializer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{NormalizedString, Normalizer};

use super::expression::Expression;
use super::guard::{Stop, look, stop};
use super::sentencepiece::rules::Rules;

/// Bytes that a text may become, whatever its length.
pub const FREE_BYTES: usize = 64 << 10;
/// Bytes that each of a text's bytes may become besides: a space may become three.
pub const EACH: usize = 4;
/// Replacements this short cannot grow a text by much in one step: it is looked at behind each.
const SHORT: usize = 16;

/// See the module.
#[derive(Debug, Clone)]
pub enum Normaliser {
    /// The library's, one after another.
    Steps(Vec<Step>),
    /// SentencePiece's.
    SentencePiece(Rules),
}

/// One of the library's normalisers, and what it can make of a text.
#[derive(Debug, Clone)]
pub struct Step {
    kind: Kind,
    growth: Growth,
}

#[derive(Debug, Clone)]
enum Kind {
    /// One of the library's, which takes time in proportion to a text.
    Library(NormalizerWrapper),
    /// The library's `Replace` of a regular expression.
    Replace { expression: Expression, content: String },
}

/// Only content that the file gives counts. What Unicode's forms do to a text is bounded, and seen before the next
/// step.
#[derive(Debug, Clone, Copy)]
enum Growth {
    Little,
    /// So many bytes once.
    Once(usize),
    /// So many bytes for each of the text's, and once more.
    Each(usize),
}

impl<'de> Deserialize<'de> for Normaliser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Vec::new();
        flatten(NormalizerWrapper::deserialize(deserializer)?, &mut steps)
            .map_err(serde::de::Error::custom)?;
        Ok(Self::Steps(steps))
    }
}

fn flatten(normalizer: NormalizerWrapper, steps: &mut Vec<Step>) -> Result<(), String> {
    let mut expression = None;
    let growth = match normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            return sequence.into_iter().try_for_each(|step| flatten(step, steps));
        }
        NormalizerWrapper::Replace(_) => {
            let shown = shown(&normalizer);
            let content = shown["content"].as_str().unwrap_or_default().to_owned();
            let length = content.len();
            if let Some(text) = shown["pattern"]["Regex"].as_str() {
                expression = Some(Kind::Replace {
                    expression: Expression::new(text)?,
                    content,
                });
            }
            match length {
                short if short <= SHORT => Growth::Little,
                long => Growth::Each(long),
            }
        }
        NormalizerWrapper::Prepend(_) => {
            Growth::Once(shown(&normalizer)["prepend"].as_str().map_or(0, str::len))
        }
        _ => Growth::Little,
    };
    let kind = expression.unwrap_or(Kind::Library(normalizer));
    steps.push(Step { kind, growth });
    Ok(())
}

/// A normaliser as JSON: the library shows what it replaces in no other way.
fn shown(normalizer: &NormalizerWrapper) -> serde_json::Value {
    serde_json::to_value(normalizer).unwrap_or_default()
}

thread_local! {
    /// Bytes that may still be made of the text that this thread is at.
    static LEFT: Cell<usize> = const { Cell::new(FREE_BYTES) };
    /// Whether it goes on with what was cut before it.
    static CONTINUES: Cell<bool> = const { Cell::new(false) };
}

/// Begins a text of so many bytes.
pub fn begin(bytes: usize) {
    LEFT.set(bytes.saturating_mul(EACH).saturating_add(FREE_BYTES));
    CONTINUES.set(false);
}

/// Begins a part of so many bytes, cut off within words behind another: see [`Normaliser::is_local`].
pub fn go_on(bytes: usize) {
    begin(bytes);
    CONTINUES.set(true);
}

/// Expressions that match runs of spaces and nothing else: none goes across a cut between a letter and a sign.
const SPACES: [&str; 4] = [r"\s+", " +", " {2,}", r"\s{2,}"];

impl Normaliser {
    /// Whether a text can be normalised in parts that are cut between a letter or digit and a sign, a space or a line's end.
    pub fn is_local(&self) -> bool {
        let local = |step: &Step| match &step.kind {
            Kind::Library(NormalizerWrapper::StripNormalizer(_)) => false,
            Kind::Library(normalizer @ NormalizerWrapper::Replace(_)) => {
                shown(normalizer)["pattern"]["String"]
                    .as_str()
                    .is_some_and(|text| match text.chars().count() {
                        0 => false,
                        1 => true,
                        _ => !text.contains(char::is_alphanumeric),
                    })
            }
            // Each character by itself, or with marks behind it.
            Kind::Library(_) => true,
            Kind::Replace { expression, .. } => SPACES.contains(&expression.text()),
        };
        match self {
            Self::Steps(steps) => steps.iter().all(local),
            Self::SentencePiece(rules) => rules.are_local(),
        }
    }

    /// Whether a text must not be cut between these two.
    pub fn may_cross(&self, before: char, behind: char) -> bool {
        match self {
            Self::Steps(_) => false,
            // Spaces at the end of a text, and before it, may count for nothing.
            Self::SentencePiece(rules) => behind.is_whitespace() || rules.may_cross(before, behind),
        }
    }
}

impl Normalizer for Normaliser {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        // Behind an added token begins another text.
        let continues = CONTINUES.get() && text.offsets_original().0 == 0;
        match self {
            Self::Steps(steps) => {
                for step in steps {
                    look();
                    if continues && matches!(step.kind, Kind::Library(NormalizerWrapper::Prepend(_))) {
                        continue;
                    }
                    held(match step.growth {
                        Growth::Little => text.len(),
                        Growth::Once(more) => text.len().saturating_add(more),
                        Growth::Each(more) => text.len().saturating_add(1).saturating_mul(more),
                    });
                    match &step.kind {
                        Kind::Library(normalizer) => normalizer.normalize(text)?,
                        Kind::Replace { expression, content } => text.replace(expression, content)?,
                    }
                }
            }
            Self::SentencePiece(rules) => {
                let is_first = text.offsets_original().0 == 0;
                let normal = rules.apply(text.get(), is_first, continues);
                held(normal.len());
                let removed = text.get().chars().count();
                text.transform(normal.chars().map(|char| (char, 1)), removed);
            }
        }
        LEFT.set(held(text.len()));
        Ok(())
    }
}

/// What is left beyond so many bytes; stops where that is nothing.
fn held(bytes: usize) -> usize {
    match LEFT.get().checked_sub(bytes) {
        Some(left) => left,
        None => stop(Stop::Size),
    }
}
