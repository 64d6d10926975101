//! What an answer must look like: a JSON schema, a regular expression, a grammar, one of several texts.
//!
//! A [`Constraint`] is what was asked for. With a model's [`Vocabulary`] it is compiled to a [`Grammar`], away from the thread that computes,
//! within limits. Each answer has its own [`Matcher`] of it, which says before every token which ones may come.

mod compile;
mod constraint;
mod error;
mod matcher;
mod vocabulary;

pub use compile::Grammar;
pub use constraint::Constraint;
pub use error::ConstraintError;
pub use matcher::Matcher;
pub use vocabulary::Vocabulary;
