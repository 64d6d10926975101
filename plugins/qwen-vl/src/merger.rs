//! What joins a square of patches to one feature.

use monocle_plugin::prelude::*;

/// Squares of patches to features.
pub enum Merger {
    /// Norm, square, two layers.
    Shuffle { norm: Norm, mlp: Mlp },
    /// Square, norm, two layers (DeepStack's).
    ShuffleFirst { norm: Norm, mlp: Mlp },
    /// A strided convolution and a gated block (GLM).
    Convolution {
        convolution: Conv2d,
        projection: Linear,
        norm: Norm,
        mlp: Mlp,
    },
}

impl Merger {
    /// That of the tower at this place.
    pub fn load(place: &Weights, by: u32, activation: Activation, epsilon: f32) -> Result<Self> {
        let merger = place.at("merger");
        if place.has("downsample.weight") {
            return Ok(Self::Convolution {
                convolution: Conv2d::patches(&place.at("downsample"), by)?,
                projection: merger.linear("proj"),
                norm: merger.norm("post_projection_norm", 1e-5),
                mlp: Mlp::load(&merger, activation),
            });
        }
        let mlp = if merger.has("mlp.0.weight") {
            merger.at("mlp")
        } else {
            merger.clone()
        };
        Ok(Self::Shuffle {
            norm: Norm::load(&merger.pick(&["ln_q", "norm"]), epsilon),
            mlp: Mlp::load(&mlp, Activation::Gelu),
        })
    }

    /// DeepStack's, at this place.
    pub fn deep(place: &Weights) -> Self {
        Self::ShuffleFirst {
            norm: place.norm("norm", 1e-6),
            mlp: Mlp::load(place, Activation::Gelu),
        }
    }

    /// `[patches, hidden]` to `[squares, out]`
    pub fn forward(&self, x: &Tensor, by: u32) -> Result<Tensor> {
        let (patches, hidden) = (x.dimension(0), x.dimension(1));
        let squares = [patches / (by * by), by * by * hidden];
        Ok(match self {
            Self::Shuffle { norm, mlp } => mlp.forward(&norm.forward(x).reshape(&squares)),
            Self::ShuffleFirst { norm, mlp } => mlp.forward(&norm.forward(&x.reshape(&squares))),
            Self::Convolution {
                convolution,
                projection,
                norm,
                mlp,
            } => {
                let x = convolution.forward(&x.reshape(&[squares[0], by, by, hidden]))?;
                let x = projection.forward(&x.flatten(0, 2));
                mlp.forward(&Activation::Gelu.forward(&norm.forward(&x)))
            }
        })
    }
}
