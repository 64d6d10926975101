//! How long the rows of a checkpoint's layers are, as its tensors tell of one another: layers whose names differ in numbers only have rows of one
//! length, and what a layer takes, another gives: as many numbers as a matrix has rows, or a vector has elements.

use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lengths {
    /// Of layers that are alike, by their name without its numbers.
    alike: BTreeMap<String, BTreeSet<u64>>,
    /// All that something gives or takes.
    known: BTreeSet<u64>,
}

impl Lengths {
    /// A tensor of this shape gives as many numbers as it has rows, or as it has elements where it is a vector.
    pub fn gives(&mut self, shape: &[usize]) {
        let given = match shape {
            [.., rows, _] => rows,
            [length] => length,
            [] => return,
        };
        self.known.insert(*given as u64);
    }

    /// A layer has rows of this length.
    pub fn takes(&mut self, layer: &str, length: u64) {
        self.alike
            .entry(without_numbers(layer))
            .or_default()
            .insert(length);
        self.known.insert(length);
    }

    /// Which of several lengths the rows of the layers like this one have.
    pub fn alike(&self, layer: &str, lengths: &[u64]) -> Option<usize> {
        // Layers that differ tell nothing: in some models they grow from stage to stage.
        let alike = self
            .alike
            .get(&without_numbers(layer))
            .filter(|alike| alike.len() == 1)?;
        lengths.iter().position(|length| alike.contains(length))
    }

    /// Which of several lengths is the only one that something gives or takes.
    pub fn known(&self, lengths: &[u64]) -> Option<usize> {
        let mut known = (0..)
            .zip(lengths)
            .filter(|(_, length)| self.known.contains(length));
        known.next().filter(|_| known.next().is_none()).map(|(at, _)| at)
    }
}

/// A name whose numbers are all the same: `layers.0.mlp.down_proj` as `layers.1.mlp.down_proj`.
fn without_numbers(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name
        .split('.')
        .map(|part| if is_number(part) { "0" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_long_as_those_of_layers_alike() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.alike("m.layers.2.q", &[96, 128]), None);
        lengths.takes("m.layers.0.q", 96);
        assert_eq!(lengths.alike("m.layers.2.q", &[128, 96]), Some(1));
        assert_eq!(lengths.alike("m.layers.2.q", &[128, 192]), None);
        assert_eq!(lengths.alike("m.layers.2.k", &[96, 128]), None);
        lengths.takes("m.layers.1.q", 192);
        assert_eq!(lengths.alike("m.layers.2.q", &[96, 128]), None);
    }

    #[test]
    fn what_is_given_somewhere_may_be_taken() {
        let mut lengths = Lengths::default();
        lengths.gives(&[]);
        lengths.gives(&[96, 7]);
        lengths.gives(&[3, 128, 7]);
        assert_eq!(lengths.known(&[64, 128]), Some(1));
        assert_eq!(lengths.known(&[7, 64]), None);
        // Where two are, neither is told.
        assert_eq!(lengths.known(&[96, 128]), None);
        lengths.gives(&[64]);
        assert_eq!(lengths.known(&[32, 64]), Some(1));
    }
}
