//! What the checkpoint holds. Weights themselves are loaded through [`crate::nn`].

use std::fmt::Display;

use crate::bindings::imports::weights as imports;
use crate::{Context, Result};

pub use imports::{Embedding, Experts, Linear, Parameter};

/// A place among the checkpoint's names: `Weights::root().at("layers").at(3).linear("q_proj")` is `layers.3.q_proj`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weights(String);

impl Weights {
    /// Before all names.
    pub fn root() -> Self {
        Self::default()
    }

    /// A place within this one.
    #[must_use]
    pub fn at(&self, part: impl Display) -> Self {
        Self(self.name(&part.to_string()))
    }

    /// The full name of a part; of this place where it is empty.
    pub fn name(&self, part: &str) -> String {
        match (self.0.as_str(), part) {
            ("", part) => part.to_owned(),
            (place, "") => place.to_owned(),
            (place, part) => format!("{place}.{part}"),
        }
    }

    /// The first of several places within this one that has a tensor `name`, for checkpoints that come in several naming schemes; an empty
    /// one stands for this place. Fails with all that were tried.
    pub fn find(&self, places: &[&str], name: &str) -> Result<Self> {
        let places: Vec<String> = places.iter().map(|place| self.name(place)).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        Ok(Self(first_prefix(&places, name)?.to_owned()))
    }

    /// Whether a tensor of this name exists here (a layer `NAME` has `NAME.weight`).
    pub fn has(&self, name: &str) -> bool {
        has(&self.name(name))
    }

    /// The tensor of this name.
    pub fn parameter(&self, name: &str) -> Parameter {
        parameter(&self.name(name))
    }

    /// The layer of this name.
    pub fn linear(&self, name: &str) -> Linear {
        linear(&self.name(name))
    }

    /// The table of this name.
    pub fn embedding(&self, name: &str) -> Embedding {
        embedding(&self.name(name))
    }

    /// The stacked layers of this name.
    pub fn experts(&self, name: &str) -> Experts {
        experts(&self.name(name))
    }

    /// The layer of this name in each of these places, as the stacked layers of experts.
    pub fn stack_experts(&self, places: impl IntoIterator<Item = impl Display>, name: &str) -> Experts {
        let names: Vec<String> = places
            .into_iter()
            .map(|place| self.at(place).name(name))
            .collect();
        stack_experts(&names)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_make_names() {
        let root = Weights::root();
        assert_eq!(root.name("lm_head"), "lm_head");
        let layer = root.at("model.layers").at(3);
        assert_eq!(layer.name("q_proj"), "model.layers.3.q_proj");
        assert_eq!(layer.name(""), "model.layers.3");
        assert_eq!(layer.at("mlp"), root.at("model.layers.3.mlp"));
    }
}
