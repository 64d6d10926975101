//! What is done to a text before it is cut: the library's normalisers, held to a size, or SentencePiece's own rules.

use std::cell::Cell;

use serde::{Deserialize, Deserializer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{NormalizedString, Normalizer};

use super::sentencepiece::rules::Rules;

/// Bytes that a text may become, whatever its length.
pub const FREE_BYTES: usize = 1 << 20;
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
    normalizer: NormalizerWrapper,
    growth: Growth,
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

/// How [`Normaliser`] stops where a text becomes too large: as an unwinding that [`super::guard::guarded`] makes an
/// error of. The library ignores a normaliser's errors.
pub struct TooLarge;

impl<'de> Deserialize<'de> for Normaliser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Vec::new();
        flatten(NormalizerWrapper::deserialize(deserializer)?, &mut steps);
        Ok(Self::Steps(steps))
    }
}

fn flatten(normalizer: NormalizerWrapper, steps: &mut Vec<Step>) {
    let growth = match normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            return sequence.into_iter().for_each(|step| flatten(step, steps));
        }
        NormalizerWrapper::Replace(_) => match content(&normalizer, "content") {
            short if short <= SHORT => Growth::Little,
            long => Growth::Each(long),
        },
        NormalizerWrapper::Prepend(_) => Growth::Once(content(&normalizer, "prepend")),
        _ => Growth::Little,
    };
    steps.push(Step { normalizer, growth });
}

/// The length of what a normaliser inserts, which the library shows only as JSON.
fn content(normalizer: &NormalizerWrapper, key: &str) -> usize {
    let value = serde_json::to_value(normalizer).unwrap_or_default();
    value[key].as_str().map_or(0, str::len)
}

thread_local! {
    /// Bytes that may still be made of the text that this thread is at.
    static LEFT: Cell<usize> = const { Cell::new(FREE_BYTES) };
}

/// Begins a text of so many bytes.
pub fn begin(bytes: usize) {
    LEFT.set(bytes.saturating_mul(EACH).saturating_add(FREE_BYTES));
}

impl Normalizer for Normaliser {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        match self {
            Self::Steps(steps) => {
                for step in steps {
                    held(match step.growth {
                        Growth::Little => text.len(),
                        Growth::Once(more) => text.len().saturating_add(more),
                        Growth::Each(more) => text.len().saturating_add(1).saturating_mul(more),
                    });
                    step.normalizer.normalize(text)?;
                }
            }
            Self::SentencePiece(rules) => {
                let is_first = text.offsets_original().0 == 0;
                let normal = rules.apply(text.get(), is_first);
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
        None => std::panic::resume_unwind(Box::new(TooLarge)),
    }
}
