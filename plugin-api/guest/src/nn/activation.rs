//! Activations by their names in Hugging Face configs.

use serde::Deserialize;

use crate::{Tensor, UnaryOperation};

/// An element-by-element function between two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// `x · sigmoid(x)` (arXiv:1702.03118).
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// `x · Φ(x)`, exact (arXiv:1606.08415).
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU's tanh approximation (same paper).
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new", alias = "gelu_fast")]
    GeluTanh,
    /// `x · sigmoid(1.702 x)` (same paper).
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// `max(x, 0)`
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    /// Applies it.
    pub fn forward(self, x: &Tensor) -> Tensor {
        x.unary(match self {
            Self::Silu => UnaryOperation::Silu,
            Self::Gelu => UnaryOperation::Gelu,
            Self::GeluTanh => UnaryOperation::GeluTanh,
            Self::QuickGelu => UnaryOperation::QuickGelu,
            Self::Relu => UnaryOperation::Relu,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_configs() {
        let read = |name: &str| serde_json::from_value::<Activation>(name.into()).unwrap();
        assert_eq!(read("silu"), Activation::Silu);
        assert_eq!(read("gelu"), Activation::Gelu);
        assert_eq!(read("gelu_new"), Activation::GeluTanh);
        assert_eq!(read("gelu_pytorch_tanh"), Activation::GeluTanh);
        assert_eq!(read("quick_gelu"), Activation::QuickGelu);
        let error = serde_json::from_value::<Activation>("mish".into())
            .unwrap_err()
            .to_string();
        assert!(error.contains("`mish`") && error.contains("`silu`"), "{error}");
    }
}
