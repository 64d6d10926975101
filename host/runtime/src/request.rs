//! What is asked of a model, on its way to being answered: its pictures, its prompt, and what is known before anything is computed.

pub mod pictures;
pub mod prepare;
pub mod prompt;
