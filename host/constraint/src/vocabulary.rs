//! A model's tokens by what they write.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use monocle_text::Tokenizer;

use crate::error::ConstraintError;

/// A model's tokens by what they write; made once for a model.
pub struct Vocabulary {
    pub(crate) factory: ParserFactory,
}

/// What a mask may cost: exceeding it ends the answer with an error. A few ten milliseconds at most, the library says.
const STEP_FUEL: u64 = 400_000;
/// What a lexer may cost at the begin: less than a second.
const INITIAL_FUEL: u64 = 2_000_000;
/// The most symbols of a grammar.
const GRAMMAR_SIZE: usize = 200_000;
/// The most states of a lexer, of a kilobyte or two each.
const LEXER_STATES: usize = 50_000;

impl Vocabulary {
    /// The tokens of a tokenizer. Special tokens write nothing.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, ConstraintError> {
        let words: Vec<Vec<u8>> = tokenizer
            .token_bytes()
            .into_iter()
            .enumerate()
            .map(|(id, bytes)| match bytes {
                Some(bytes) => bytes,
                // The library's mark of a special token is a byte that no text has.
                None => special(id),
            })
            .collect();
        Self::of_words(words)
    }

    /// Tokens that write these bytes; one that writes nothing is special.
    pub fn of_words(mut words: Vec<Vec<u8>>) -> Result<Self, ConstraintError> {
        for (id, word) in words.iter_mut().enumerate() {
            // A text never has this byte, and a token of a thousand is more than the library takes.
            if word.is_empty() || word.len() > 1000 || word.starts_with(&[TokTrie::SPECIAL_TOKEN_MARKER]) {
                *word = special(id);
            }
        }
        // Ends are the host's own: no token of the model's is the library's end.
        let end = words.len() as u32;
        words.push(special(words.len()));
        let info = TokRxInfo::new(words.len() as u32, end);
        let trie = TokTrie::from(&info, &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|error| ConstraintError::Vocabulary {
            reason: error.to_string(),
        })?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.initial_lexer_fuel = INITIAL_FUEL;
        limits.step_lexer_fuel = STEP_FUEL;
        limits.max_grammar_size = GRAMMAR_SIZE;
        limits.max_lexer_states = LEXER_STATES;
        limits.precompute_large_lexemes = false;
        limits.verbose_errors = false;
        Ok(Self { factory })
    }
}

fn special(id: usize) -> Vec<u8> {
    let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
    word.extend(format!("[{id}]").into_bytes());
    word
}
