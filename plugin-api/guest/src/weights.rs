//! What the checkpoint holds. Weights themselves are loaded through [`crate::nn`].

use crate::bindings::imports::weights as imports;
use crate::{Context, Result};

pub use imports::{Embedding, Experts, Linear, Parameter};

/// Whether a tensor of this exact name exists (a layer `NAME` has `NAME.weight`, quantised or not).
pub fn has(name: &str) -> bool {
    imports::has(name)
}

/// All names that start with this prefix, sorted.
pub fn names(prefix: &str) -> Vec<String> {
    imports::names(prefix)
}

/// The first of several prefixes under which `PREFIX.name` exists, for checkpoints that come in several naming schemes.
/// Fails with all that were tried. An empty prefix stands for the bare name.
pub fn first_prefix<'a>(prefixes: &[&'a str], name: &str) -> Result<&'a str> {
    let full = |prefix: &str| {
        if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        }
    };
    let found = prefixes.iter().find(|prefix| has(&full(prefix)));
    found.copied().context(format_args!(
        "the checkpoint has none of {}; if it names its weights in another way, set `weights.rename` in the manifest",
        prefixes.iter().map(|prefix| format!("`{}`", full(prefix))).collect::<Vec<_>>().join(", "),
    ))
}

/// The tensor of this exact name.
pub fn parameter(name: &str) -> Parameter {
    imports::get_parameter(name)
}

/// The layer of this name; an embedding's name gives its table as a layer (a tied output head).
pub fn linear(name: &str) -> Linear {
    imports::get_linear(name)
}

/// The table of this name.
pub fn embedding(name: &str) -> Embedding {
    imports::get_embedding(name)
}

/// Layers of these names, `[out, in]` each, as the stacked layers of experts: for checkpoints that store experts one by one.
pub fn stack_experts(names: &[String]) -> Experts {
    imports::stack_experts(names)
}

/// The stacked layers of this name.
pub fn experts(name: &str) -> Experts {
    imports::get_experts(name)
}
