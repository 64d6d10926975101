//! How a text is cut into words: the library's steps, one word after another in place of lists of all. Regular expressions are searched for
//! under a clock.

use serde::{Deserialize, Deserializer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{
    OffsetReferential, OffsetType, Offsets, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Result,
};

use super::expression::Expression;
use super::guard::{Stop, look, stop};
use crate::stream::bytes::byte_level_text;

/// How the library's `ByteLevel` cuts where it is not told otherwise.
const BYTE_LEVEL: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Bytes of a text for a step that the library takes: it makes lists, of up to some hundred bytes for each.
const FOR_THE_LIBRARY: usize = 128 << 10;

/// See the module.
#[derive(Debug, Clone)]
pub struct Cutter {
    steps: Vec<Step>,
    /// What the library would do: the reference of tests.
    whole: PreTokenizerWrapper,
}

#[derive(Debug, Clone)]
enum Step {
    /// One of the library's, which takes time in proportion to a text.
    Library(PreTokenizerWrapper),
    /// At what is found.
    Split {
        pattern: Pattern,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    /// A space before a text that begins with none.
    SpaceBefore,
    /// Each byte as a character.
    Bytes,
    /// Spaces as a character, and one before a text that begins with none.
    Metaspace {
        replacement: char,
        prepend: PrependScheme,
    },
}

#[derive(Debug, Clone)]
enum Pattern {
    Expression(Expression),
    Text(String),
    Kind(fn(char) -> bool),
}

impl<'de> Deserialize<'de> for Cutter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let whole = PreTokenizerWrapper::deserialize(deserializer)?;
        let mut steps = Vec::new();
        flatten(whole.clone(), &mut steps).map_err(serde::de::Error::custom)?;
        Ok(Self { steps, whole })
    }
}

fn flatten(step: PreTokenizerWrapper, steps: &mut Vec<Step>) -> std::result::Result<(), String> {
    let split = |pattern, behavior| Step::Split {
        pattern,
        behavior,
        invert: false,
    };
    match step {
        PreTokenizerWrapper::Sequence(sequence) => {
            return sequence.into_iter().try_for_each(|step| flatten(step, steps));
        }
        PreTokenizerWrapper::Split(split) => {
            let pattern = match &split.pattern {
                SplitPattern::Regex(expression) => Pattern::Expression(Expression::new(expression)?),
                SplitPattern::String(text) if !text.is_empty() => Pattern::Text(text.clone()),
                SplitPattern::String(_) => {
                    steps.push(Step::Library(PreTokenizerWrapper::Split(split)));
                    return Ok(());
                }
            };
            steps.push(Step::Split {
                pattern,
                behavior: split.behavior,
                invert: split.invert,
            });
        }
        PreTokenizerWrapper::ByteLevel(ByteLevel {
            add_prefix_space,
            use_regex,
            ..
        }) => {
            if add_prefix_space {
                steps.push(Step::SpaceBefore);
            }
            if use_regex {
                let pattern = Pattern::Expression(Expression::new(BYTE_LEVEL)?);
                steps.push(split(pattern, SplitDelimiterBehavior::Isolated));
            }
            steps.push(Step::Bytes);
        }
        PreTokenizerWrapper::Digits(digits) => {
            let behavior = match digits.individual_digits {
                true => SplitDelimiterBehavior::Isolated,
                false => SplitDelimiterBehavior::Contiguous,
            };
            steps.push(split(Pattern::Kind(char::is_numeric), behavior));
        }
        PreTokenizerWrapper::WhitespaceSplit(_) => {
            steps.push(split(
                Pattern::Kind(char::is_whitespace),
                SplitDelimiterBehavior::Removed,
            ));
        }
        PreTokenizerWrapper::Metaspace(metaspace) => {
            let replacement = metaspace.get_replacement();
            steps.push(Step::Metaspace {
                replacement,
                prepend: metaspace.prepend_scheme,
            });
            if metaspace.split {
                let pattern = Pattern::Text(replacement.to_string());
                steps.push(split(pattern, SplitDelimiterBehavior::MergedWithNext));
            }
        }
        step => steps.push(Step::Library(step)),
    }
    Ok(())
}

impl Cutter {
    /// Gives each word of a text, which is the `first` of several or is not.
    pub fn each(&self, text: &str, first: bool, take: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        cut(&self.steps, text, first, take)
    }
}

fn cut(steps: &[Step], text: &str, first: bool, take: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let Some((step, rest)) = steps.split_first() else {
        return take(text);
    };
    match step {
        Step::Library(step) => {
            look();
            if text.len() > FOR_THE_LIBRARY {
                stop(Stop::Word);
            }
            let mut words = PreTokenizedString::from(text);
            step.pre_tokenize(&mut words)?;
            words
                .get_splits(OffsetReferential::Original, OffsetType::None)
                .into_iter()
                .try_for_each(|(word, (at, _), _)| cut(rest, word, first && at == 0, take))
        }
        Step::Split {
            pattern,
            behavior,
            invert,
        } => {
            let mut take = |(start, end): Offsets| cut(rest, &text[start..end], first && start == 0, take);
            let turned = |(at, found): (Offsets, bool)| (at, found != *invert);
            match pattern {
                Pattern::Expression(expression) => {
                    join(expression.matches(text).map(turned), *behavior, &mut take)
                }
                Pattern::Text(found) => {
                    let found = text
                        .match_indices(found)
                        .map(|(at, found)| (at, at + found.len()));
                    join(between(found, text.len()).map(turned), *behavior, &mut take)
                }
                Pattern::Kind(kind) => {
                    let found = text.char_indices().filter(|(_, char)| kind(*char));
                    let found = found.map(|(at, char)| (at, at + char.len_utf8()));
                    join(between(found, text.len()).map(turned), *behavior, &mut take)
                }
            }
        }
        Step::SpaceBefore if text.starts_with(' ') => cut(rest, text, first, take),
        Step::SpaceBefore => cut(rest, &format!(" {text}"), first, take),
        Step::Bytes => cut(rest, &byte_level_text(text), first, take),
        Step::Metaspace { replacement, prepend } => {
            let mut replaced = String::new();
            let prepends = match prepend {
                PrependScheme::Always => true,
                PrependScheme::First => first,
                PrependScheme::Never => false,
            };
            if prepends && !text.starts_with([' ', *replacement]) {
                replaced.push(*replacement);
            }
            replaced.extend(text.chars().map(|char| match char {
                ' ' => *replacement,
                char => char,
            }));
            cut(rest, &replaced, first, take)
        }
    }
}

/// What was found, in order, and what lies between.
fn between(found: impl Iterator<Item = Offsets>, length: usize) -> impl Iterator<Item = (Offsets, bool)> {
    let mut covered = 0;
    found
        .chain([(length, length)])
        .flat_map(move |(start, end)| {
            let before = (covered, start);
            covered = end;
            [(before, false), ((start, end), true)]
        })
        .filter(|((start, end), _)| start != end)
}

/// Joins what is found with what lies beside it, as the library's `NormalizedString::split` does.
fn join(
    parts: impl Iterator<Item = (Offsets, bool)>,
    behavior: SplitDelimiterBehavior,
    take: &mut dyn FnMut(Offsets) -> Result<()>,
) -> Result<()> {
    let mut held: Option<(Offsets, bool)> = None;
    for (part, found) in parts {
        let joins = |last: bool| match behavior {
            SplitDelimiterBehavior::Removed | SplitDelimiterBehavior::Isolated => false,
            SplitDelimiterBehavior::Contiguous => found == last,
            SplitDelimiterBehavior::MergedWithPrevious => found && !last,
            SplitDelimiterBehavior::MergedWithNext => last && !found,
        };
        match held {
            Some(((start, _), last)) if joins(last) => held = Some(((start, part.1), found)),
            _ => {
                if let Some((part, _)) = held.take() {
                    take(part)?;
                }
                if !(found && behavior == SplitDelimiterBehavior::Removed) {
                    held = Some((part, found));
                }
            }
        }
    }
    held.map_or(Ok(()), |(part, _)| take(part))
}

/// What the library asks of a part of its own tokenizer; texts are cut by [`Cutter::each`].
impl PreTokenizer for Cutter {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        self.whole.pre_tokenize(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The library's own steps are the reference.
    #[test]
    fn words_are_those_of_the_library() {
        let split = |pattern: serde_json::Value, behavior: &str, invert: bool| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert});
        let mut all = vec![
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}),
            json!({"type": "Digits", "individual_digits": true}),
            json!({"type": "Digits", "individual_digits": false}),
            json!({"type": "WhitespaceSplit"}),
            json!({"type": "Whitespace"}),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "Punctuation", "behavior": "Contiguous"}),
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}]}),
        ];
        for behavior in [
            "Isolated",
            "Removed",
            "Contiguous",
            "MergedWithPrevious",
            "MergedWithNext",
        ] {
            for invert in [false, true] {
                for pattern in [
                    json!({"String": " "}),
                    json!({"String": "aa"}),
                    json!({"Regex": r"\s+|b"}),
                    json!({"Regex": r"\b"}),
                ] {
                    all.push(split(pattern, behavior, invert));
                }
            }
        }
        let texts = [
            "a",
            " ",
            "  ",
            "aaa aa  a",
            " ab, bb  b1 23b ",
            "don't 12\n\n x",
            "é中文 。",
            "b",
            "bb b",
            "x  ",
        ];
        for value in all {
            let cutter: Cutter = serde_json::from_value(value.clone()).unwrap();
            for text in texts {
                let mut words = Vec::new();
                let kept = cutter.each(text, true, &mut |word| {
                    words.push(word.to_owned());
                    Ok(())
                });
                kept.unwrap();
                let mut library = PreTokenizedString::from(text);
                cutter.pre_tokenize(&mut library).unwrap();
                let library = library.get_splits(OffsetReferential::Original, OffsetType::None);
                let library: Vec<&str> = library.into_iter().map(|(word, ..)| word).collect();
                assert_eq!(words, library, "{value}: {text:?}");
            }
        }
    }
}
