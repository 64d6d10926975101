//! Feed-forward blocks.

use super::Activation;
use crate::Tensor;
use crate::weights::{self, Linear};

/// Two linear layers with an activation between: `[.., in]` to `[.., out]`.
pub struct Mlp {
    first: Linear,
    activation: Activation,
    second: Linear,
}

impl Mlp {
    /// The layers of these names (biases where they exist).
    pub fn load(first: &str, activation: Activation, second: &str) -> Self {
        Self {
            first: weights::linear(first),
            activation,
            second: weights::linear(second),
        }
    }

    /// `second(activation(first(x)))`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.second
            .forward(&self.activation.forward(&self.first.forward(x)))
    }
}

/// `down(activation(gate(x)) · up(x))` (arXiv:2002.05202): `[.., hidden]` to the same.
pub struct GatedMlp {
    gate_up: GateUp,
    activation: Activation,
    down: Linear,
}

enum GateUp {
    Separate(Linear, Linear),
    /// One layer whose first half of outputs is the gate (Phi-3).
    Fused(Linear),
}

impl GatedMlp {
    /// `NAME.gate_proj` and `NAME.up_proj`, or `NAME.gate_up_proj`, and `NAME.down_proj`.
    pub fn load(name: &str, activation: Activation) -> Self {
        let layer = |part: &str| weights::linear(&format!("{name}.{part}"));
        let gate_up = if weights::has(&format!("{name}.gate_up_proj.weight")) {
            GateUp::Fused(layer("gate_up_proj"))
        } else {
            GateUp::Separate(layer("gate_proj"), layer("up_proj"))
        };
        Self {
            gate_up,
            activation,
            down: layer("down_proj"),
        }
    }

    /// Applies the block.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (gate, up) = match &self.gate_up {
            GateUp::Separate(gate, up) => (gate.forward(x), up.forward(x)),
            GateUp::Fused(layer) => {
                let both = layer.forward(x);
                let last = both.shape().len() as u32 - 1;
                let size = both.dimension(last as usize);
                (both.narrow(last, 0, size / 2), both.narrow(last, size / 2, size))
            }
        };
        self.down.forward(&(self.activation.forward(&gate) * up))
    }
}
