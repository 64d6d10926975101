//! Calls of tools in a model's answer. How a model writes them is data: the `[tools]` section of its manifest, or a table of
//! `manifests/tools` whose marks its chat template has.
//!
//! [`parser`] reads calls out of an answer as it comes, [`grammar`] says which answers are calls, for those that must be, and [`tables`]
//! finds a model's format, unless its own folder says it ([`response_template`]).

mod body;
pub mod grammar;
pub mod parser;
mod python;
pub mod response_template;
mod scan;
pub mod tables;
pub mod tools;

pub use grammar::grammar;
pub use parser::{CallParser, Found};
pub use tables::{ToolTable, find, load};
pub use tools::{Called, Tools};
