//! What the checkpoint holds: [`Weights`] are places among its names.

use std::fmt::{self, Display};

use crate::bindings::imports::weights as imports;
use crate::nn::Norm;
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
        let mut places = places.iter().map(|place| self.at(place));
        let tried: Vec<String> = places
            .clone()
            .map(|place| format!("`{}`", place.name(name)))
            .collect();
        places.find(|place| place.has(name)).context(format_args!(
            "the checkpoint has none of {}; if it names its weights in another way, set `weights.rename` in the manifest",
            tried.join(", "),
        ))
    }

    /// The first of several places within this one under which the checkpoint has anything (an empty one stands for this place); the first of all where it has nothing, so that the
    /// error for what is asked of it names what is near.
    #[must_use]
    pub fn pick(&self, places: &[&str]) -> Self {
        let there = |place: &&&str| !names(&format!("{}.", self.name(place))).is_empty();
        self.at(places.iter().find(there).or(places.first()).unwrap_or(&""))
    }

    /// The place that this one is in.
    pub(crate) fn parent(&self) -> Self {
        Self(
            self.0
                .rsplit_once('.')
                .map_or("", |(parent, _)| parent)
                .to_owned(),
        )
    }

    /// The output layer of the decoder at this place: `lm_head` beside it, in it or before all names; where the checkpoint has none, its
    /// `embed_tokens` (tied weights, which checkpoints do not store twice).
    pub fn head(&self) -> Linear {
        self.head_or("embed_tokens")
    }

    /// As [`Weights::head`], with another name for the table of words.
    pub fn head_or(&self, table: &str) -> Linear {
        let places = [self.parent(), self.clone(), Self::root()];
        let found = places.iter().find(|place| place.has("lm_head.weight"));
        match found {
            Some(place) => place.linear("lm_head"),
            None => self.linear(table),
        }
    }

    /// Whether a tensor of this name exists here (a layer `NAME` has `NAME.weight`).
    pub fn has(&self, name: &str) -> bool {
        has(&self.name(name))
    }

    /// The tensor of this name.
    pub fn parameter(&self, name: &str) -> Parameter {
        imports::get_parameter(&self.name(name))
    }

    /// The layer of this name.
    pub fn linear(&self, name: &str) -> Linear {
        imports::get_linear(&self.name(name))
    }

    /// The table of this name.
    pub fn embedding(&self, name: &str) -> Embedding {
        imports::get_embedding(&self.name(name))
    }

    /// The norm of this name: a layer norm where it has a bias, else an RMS norm.
    pub fn norm(&self, name: &str, epsilon: f32) -> Norm {
        Norm::load(&self.at(name), epsilon)
    }

    /// The stacked layers of this name.
    pub fn experts(&self, name: &str) -> Experts {
        imports::get_experts(&self.name(name))
    }

    /// The layer of this name in each of these places, as the stacked layers of experts.
    pub fn stack_experts(&self, places: impl IntoIterator<Item = impl Display>, name: &str) -> Experts {
        let names: Vec<String> = places
            .into_iter()
            .map(|place| self.at(place).name(name))
            .collect();
        imports::stack_experts(&names)
    }
}

/// As errors name it.
impl Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// Whether a tensor of this exact name exists (a layer `NAME` has `NAME.weight`, quantised or not).
fn has(name: &str) -> bool {
    imports::has(name)
}

/// All names that start with this prefix, sorted.
pub fn names(prefix: &str) -> Vec<String> {
    imports::names(prefix)
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
