//! The manifest: a TOML file that declares one model.
//!
//! It names the plugin that knows the model's architecture, where the weights are, and whatever differs from what the
//! model's own folder says: prompt, image limits, sampling, output clean-up. [`Manifest::load`] reads a file and
//! checks everything that can be checked without opening the model; each error says file, line, column, key and remedy.
//!
//! The types in [`schema`] are the only description of the format: the checks, the JSON Schema that editors use
//! ([`json_schema`]) and the reference page ([`reference_page`]) are all derived from them.

mod check;
mod error;
mod load;
mod reference;
pub mod schema;
pub mod served;

pub use error::{ManifestError, Place, Problem};
pub use load::MAX_FILE_BYTES;
pub use reference::{json_schema, reference_page};
pub use schema::{
    Generation, ImageRules, Limits, Manifest, Output, Oversize, Pattern, Plugin, Prompt, Reasoning, Source,
    Template, TokenizerRules, WeightRules,
};

/// The manifest format that this crate reads: the value of the key `schema`.
pub const SCHEMA_VERSION: u32 = 1;
