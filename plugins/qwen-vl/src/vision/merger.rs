//! What joins a square of patches to one feature.

use monocle_plugin::Window;
use monocle_plugin::nn::{Activation, GatedMlp, LayerNorm, Linear, Mlp, Parameter};
use monocle_plugin::prelude::*;

use super::block::Norm;

/// Squares of patches to features.
pub enum Merger {
    /// Norm, square, two layers.
    Shuffle { norm: Norm, mlp: Mlp },
    /// Square, norm, two layers (DeepStack's).
    ShuffleFirst { norm: Norm, mlp: Mlp },
    /// A strided convolution and a gated block (GLM).
    Convolution {
        kernel: Parameter,
        bias: Parameter,
        projection: Linear,
        norm: LayerNorm,
        mlp: GatedMlp,
    },
}

impl Merger {
    pub fn load(name: &str, activation: Activation, epsilon: f32) -> Self {
        let part = |part: &str| format!("{name}.{part}");
        if weights::has(&part("downsample.weight")) {
            return Self::Convolution {
                kernel: nn::parameter(&part("downsample.weight")),
                bias: nn::parameter(&part("downsample.bias")),
                projection: nn::linear(&part("merger.proj")),
                norm: LayerNorm::load(&part("merger.post_projection_norm"), 1e-5),
                mlp: GatedMlp::load(&part("merger"), activation),
            };
        }
        let older = weights::has(&part("merger.ln_q.weight"));
        let names = match older {
            true => ["merger.ln_q", "merger.mlp.0", "merger.mlp.2"],
            false => ["merger.norm", "merger.linear_fc1", "merger.linear_fc2"],
        };
        let [norm, first, second] = names.map(part);
        Self::Shuffle {
            norm: Norm::load(&norm, epsilon),
            mlp: Mlp::load(&first, Activation::Gelu, &second),
        }
    }

    pub fn deep(name: &str) -> Self {
        let part = |part: &str| format!("{name}.{part}");
        Self::ShuffleFirst {
            norm: Norm::load(&part("norm"), 1e-6),
            mlp: Mlp::load(&part("linear_fc1"), Activation::Gelu, &part("linear_fc2")),
        }
    }

    /// `[patches, hidden]` to `[squares, out]`
    pub fn forward(&self, x: &Tensor, by: u32) -> Tensor {
        let (patches, hidden) = (x.dimension(0), x.dimension(1));
        let squares = [patches / (by * by), by * by * hidden];
        match self {
            Self::Shuffle { norm, mlp } => mlp.forward(&norm.forward(x).reshape(&squares)),
            Self::ShuffleFirst { norm, mlp } => mlp.forward(&norm.forward(&x.reshape(&squares))),
            Self::Convolution {
                kernel,
                bias,
                projection,
                norm,
                mlp,
            } => {
                let kernel = kernel.value();
                // MLX stores `[out, by, by, hidden]`.
                let kernel = match kernel.dimension(1) == hidden {
                    true => kernel,
                    false => kernel.permute(&[0, 3, 1, 2]),
                };
                let window = Window {
                    size: (by, by),
                    stride: (by, by),
                    padding: (0, 0),
                };
                let x =
                    x.reshape(&[squares[0], by, by, hidden])
                        .conv2d(&kernel, Some(&bias.value()), window, 1);
                let x = projection.forward(&x.reshape(&[squares[0], x.dimension(3)]));
                mlp.forward(&Activation::Gelu.forward(&norm.forward(&x)))
            }
        }
    }
}
