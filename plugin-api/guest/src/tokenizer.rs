//! The model's tokenizer.

use crate::bindings::imports::tokenizers;
use crate::{Context, Result};

/// Token ids of a text. Special tokens written in the text are recognised.
pub fn encode(text: &str) -> Vec<u32> {
    tokenizers::encode(text, false)
}

/// Token ids of a whole prompt: as [`encode`], and with what the tokenizer's post-processor adds (a beginning-of-text token,
/// say) unless the prompt begins with it already, as chat templates write it.
pub fn encode_prompt(text: &str) -> Vec<u32> {
    let plain = tokenizers::encode(text, false);
    let with_special = tokenizers::encode(text, true);
    if plain.first() == with_special.first() {
        plain
    } else {
        with_special
    }
}

/// Adds tokens that the vocabulary lacks, in this order after its last id; gives the ids of all. In [`crate::Processor::configure`] only.
pub fn add(tokens: &[String], special: bool) -> Vec<u32> {
    tokenizers::add(tokens, special)
}

/// The token that is put before every text with special tokens, if one is.
pub fn beginning() -> Option<u32> {
    tokenizers::adds_beginning()
}

/// The id of a token by its exact text, if there is one.
pub fn find(token: &str) -> Option<u32> {
    tokenizers::token_id(token)
}

/// The id of a token by its exact text. Fails when the vocabulary lacks it.
pub fn id(token: &str) -> Result<u32> {
    find(token).context(format_args!(
        "the tokenizer has no token `{token}`, which this model's prompts need"
    ))
}

/// The text of a token by its id.
pub fn token(id: u32) -> Option<String> {
    tokenizers::token(id)
}
