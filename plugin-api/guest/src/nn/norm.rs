//! Normalisation over the last dimension.

use crate::Tensor;
use crate::weights::{self, Parameter};

/// `x / √(mean(x²) + ε) · (weight + offset)` (arXiv:1910.07467): `[.., size]` to the same.
pub struct RmsNorm {
    weight: Parameter,
    epsilon: f32,
    offset: f32,
}

impl RmsNorm {
    /// `NAME.weight` `[size]`.
    pub fn load(name: &str, epsilon: f32) -> Self {
        Self::load_with_offset(name, epsilon, 0.0)
    }

    /// As [`RmsNorm::load`], for checkpoints that store weights around zero (`offset` 1; Gemma).
    pub fn load_with_offset(name: &str, epsilon: f32, offset: f32) -> Self {
        Self {
            weight: weights::parameter(&format!("{name}.weight")),
            epsilon,
            offset,
        }
    }

    /// Normalises.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.rms_norm(Some(&self.weight.value()), self.epsilon, self.offset)
    }
}

/// `(x - mean) / √(variance + ε) · weight + bias` (arXiv:1607.06450): `[.., size]` to the same.
pub struct LayerNorm {
    weight: Parameter,
    bias: Option<Parameter>,
    epsilon: f32,
}

impl LayerNorm {
    /// `NAME.weight` and, where it exists, `NAME.bias`, both `[size]`.
    pub fn load(name: &str, epsilon: f32) -> Self {
        let bias = format!("{name}.bias");
        Self {
            weight: weights::parameter(&format!("{name}.weight")),
            bias: weights::has(&bias).then(|| weights::parameter(&bias)),
            epsilon,
        }
    }

    /// Normalises.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Parameter::value);
        x.layer_norm(&self.weight.value(), bias.as_ref(), self.epsilon)
    }
}
