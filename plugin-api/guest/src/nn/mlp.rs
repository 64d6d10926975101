//! Feed-forward blocks.

use super::Activation;
use crate::Tensor;
use crate::weights::{Linear, Weights};

/// Two linear layers with an activation between, or a gated block, `down(activation(gate(x)) · up(x))` (arXiv:2002.05202): `[.., in]` to
/// `[.., out]`.
pub struct Mlp {
    first: First,
    activation: Activation,
    last: Linear,
}

enum First {
    Plain(Linear),
    Gated(Linear, Linear),
    /// One layer whose first half of outputs is the gate (Phi-3).
    Fused(Linear),
}

/// Names of two layers, as checkpoints have them.
const PLAIN: [[&str; 2]; 6] = [
    ["fc0", "fc1"],
    ["fc1", "fc2"],
    ["linear_1", "linear_2"],
    ["linear_fc1", "linear_fc2"],
    ["0", "2"],
    ["linear1", "linear2"],
];

/// Names of gate, up and down.
const GATED: [[&str; 3]; 2] = [["gate_proj", "up_proj", "down_proj"], ["w1", "w3", "w2"]];

impl Mlp {
    /// What is at this place, with biases where they exist: `gate_proj`, `up_proj` and `down_proj` (or `w1`, `w3`, `w2`), `gate_up_proj` and
    /// `down_proj`, or `fc1` and `fc2` (or `fc0` and `fc1`, `linear_1` and `linear_2`, `linear_fc1` and `linear_fc2`, `0` and `2`).
    pub fn load(place: &Weights, activation: Activation) -> Self {
        let stored = |name: &str| place.has(&format!("{name}.weight"));
        let (first, last) = if stored("gate_up_proj") {
            (First::Fused(place.linear("gate_up_proj")), "down_proj")
        } else if let Some([gate, up, down]) = GATED.into_iter().find(|[gate, ..]| stored(gate)) {
            (First::Gated(place.linear(gate), place.linear(up)), down)
        } else {
            let [first, last] = PLAIN
                .into_iter()
                .find(|[first, _]| stored(first))
                .unwrap_or(PLAIN[1]);
            (First::Plain(place.linear(first)), last)
        };
        Self {
            first,
            activation,
            last: place.linear(last),
        }
    }

    /// Two layers and what is between them.
    pub fn new(first: Linear, activation: Activation, last: Linear) -> Self {
        Self {
            first: First::Plain(first),
            activation,
            last,
        }
    }

    /// Applies the block.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let inner = match &self.first {
            First::Plain(layer) => self.activation.forward(&layer.forward(x)),
            First::Gated(gate, up) => self.activation.forward(&gate.forward(x)) * up.forward(x),
            First::Fused(layer) => {
                let both = layer.forward(x);
                let half = both.dimension(-1) / 2;
                let [gate, up] = both.split([half, half], -1);
                self.activation.forward(&gate) * up
            }
        };
        self.last.forward(&inner)
    }
}
