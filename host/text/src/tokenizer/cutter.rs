//! How a text is cut into words: the library's steps, but that regular expressions are searched for under a clock.

use serde::{Deserialize, Deserializer};
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::tokenizer::pattern::Invert;
use tokenizers::{PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

use super::expression::Expression;
use super::guard::look;

/// See the module.
#[derive(Debug, Clone)]
pub struct Cutter(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    /// One of the library's, which takes time in proportion to a text.
    Library(PreTokenizerWrapper),
    /// The library's `Split` by a regular expression.
    Split {
        expression: Expression,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
}

impl<'de> Deserialize<'de> for Cutter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Vec::new();
        flatten(PreTokenizerWrapper::deserialize(deserializer)?, &mut steps)
            .map_err(serde::de::Error::custom)?;
        Ok(Self(steps))
    }
}

fn flatten(step: PreTokenizerWrapper, steps: &mut Vec<Step>) -> Result<(), String> {
    match step {
        PreTokenizerWrapper::Sequence(sequence) => {
            return sequence.into_iter().try_for_each(|step| flatten(step, steps));
        }
        PreTokenizerWrapper::Split(split) => match &split.pattern {
            SplitPattern::Regex(expression) => steps.push(Step::Split {
                expression: Expression::new(expression)?,
                behavior: split.behavior,
                invert: split.invert,
            }),
            SplitPattern::String(_) => steps.push(Step::Library(PreTokenizerWrapper::Split(split))),
        },
        step => steps.push(Step::Library(step)),
    }
    Ok(())
}

impl PreTokenizer for Cutter {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        for step in &self.0 {
            look();
            match step {
                Step::Library(step) => step.pre_tokenize(text)?,
                Step::Split {
                    expression,
                    behavior,
                    invert,
                } => text.split(|_, part| match invert {
                    true => part.split(Invert(expression), *behavior),
                    false => part.split(expression, *behavior),
                })?,
            }
        }
        Ok(())
    }
}
