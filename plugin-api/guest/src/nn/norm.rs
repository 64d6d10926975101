//! Normalisation over the last dimension.

use crate::Tensor;
use crate::weights::{Parameter, Weights};

/// Layer norm, `(x - mean) / √(variance + ε) · weight + bias` (arXiv:1607.06450), or RMS norm, `x / √(mean(x²) + ε) · (weight + offset)`
/// (arXiv:1910.07467): `[.., size]` to the same.
pub struct Norm {
    weight: Parameter,
    bias: Option<Parameter>,
    epsilon: f32,
    rule: Rule,
}

enum Rule {
    Layer,
    MeanSquare { offset: f32 },
}

impl Norm {
    /// The norm at this place: a layer norm where it has a bias, else an RMS norm.
    pub fn load(place: &Weights, epsilon: f32) -> Self {
        match place.has("bias") {
            true => Self::layer(place, epsilon),
            false => Self::rms(place, epsilon),
        }
    }

    /// A layer norm, with or without a bias.
    pub fn layer(place: &Weights, epsilon: f32) -> Self {
        Self {
            weight: place.parameter("weight"),
            bias: place.has("bias").then(|| place.parameter("bias")),
            epsilon,
            rule: Rule::Layer,
        }
    }

    /// An RMS norm.
    pub fn rms(place: &Weights, epsilon: f32) -> Self {
        Self {
            weight: place.parameter("weight"),
            bias: None,
            epsilon,
            rule: Rule::MeanSquare { offset: 0.0 },
        }
    }

    /// The same RMS norm, of a checkpoint that stores weights around zero (`offset` 1; Gemma).
    #[must_use]
    pub fn with_offset(mut self, offset: f32) -> Self {
        self.rule = Rule::MeanSquare { offset };
        self
    }

    /// How many elements it norms together.
    pub fn size(&self) -> u32 {
        self.weight.shape().iter().product()
    }

    /// Normalises.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let weight = self.weight.value();
        match self.rule {
            Rule::Layer => {
                let bias = self.bias.as_ref().map(Parameter::value);
                x.layer_norm(&weight, bias.as_ref(), self.epsilon)
            }
            Rule::MeanSquare { offset } => x.rms_norm(Some(&weight), self.epsilon, offset),
        }
    }
}
