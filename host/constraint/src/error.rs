//! Why an answer cannot be held to what was asked.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// It cannot be understood, or asks for what cannot be promised.
    #[error("the {kind} cannot be used: {reason}")]
    Refused {
        /// What it is.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// It is larger than is looked at.
    #[error("the {kind} has {found} {unit}, and {limit} are the most\n\nhint: make it smaller")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// It took too long.
    #[error(
        "the {kind} takes longer than {:.1} s to prepare\n\nhint: make it smaller: fewer alternatives, smaller numbers of repetitions",
        .limit.as_secs_f64()
    )]
    TooSlow {
        /// What it is.
        kind: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// Too many that took too long are still at work.
    #[error("{running} constraints are being prepared already; try again later")]
    Busy {
        /// How many.
        running: usize,
    },
    /// The tokenizer's tokens cannot be told apart by their texts.
    #[error("this model's answers cannot be constrained: {reason}")]
    Vocabulary {
        /// Why.
        reason: String,
    },
    /// Nothing that the model may say fits.
    #[error(
        "no token is left that fits what the answer must look like, after {tokens} tokens of it\n\nhint: what forbids tokens \
         (`bad_words_ids`, `no_repeat_ngram_size`, a bias) may stand in the way"
    )]
    Stuck {
        /// Tokens of the answer.
        tokens: usize,
    },
    /// The grammar became too much work on the way.
    #[error("what the answer must look like could not be followed after {tokens} tokens: {reason}")]
    Lost {
        /// Tokens that were taken.
        tokens: usize,
        /// Why.
        reason: String,
    },
}
