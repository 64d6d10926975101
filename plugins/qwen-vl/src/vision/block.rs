//! One layer of the vision tower.

use monocle_plugin::RopeAngles;
use monocle_plugin::nn::{Activation, GatedMlp, LayerNorm, Linear, Mlp, RmsNorm};
use monocle_plugin::prelude::*;

/// Layer norm where the checkpoint has a bias, else RMS norm.
pub enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

/// Attention and a feed-forward part, each after a norm and added to what came in.
pub struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    out: Linear,
    /// Heads of its attention.
    pub heads: u32,
    mlp: Feed,
}

enum Feed {
    Plain(Mlp),
    Gated(GatedMlp),
}

impl Norm {
    pub fn load(name: &str, epsilon: f32) -> Self {
        match weights::has(&format!("{name}.bias")) {
            true => Self::Layer(LayerNorm::load(name, epsilon)),
            false => Self::Rms(RmsNorm::load(name, epsilon)),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

impl Block {
    pub fn load(name: &str, heads: u32, activation: Activation, epsilon: f32) -> Self {
        let part = |part: &str| format!("{name}.{part}");
        let plain = |prefix: &str| {
            Mlp::load(
                &part(&format!("mlp.{prefix}fc1")),
                activation,
                &part(&format!("mlp.{prefix}fc2")),
            )
        };
        let mlp = if weights::has(&part("mlp.gate_proj.weight")) {
            Feed::Gated(GatedMlp::load(&part("mlp"), activation))
        } else if weights::has(&part("mlp.linear_fc1.weight")) {
            Feed::Plain(plain("linear_"))
        } else {
            Feed::Plain(plain(""))
        };
        Self {
            norms: ["norm1", "norm2"].map(|norm| Norm::load(&part(norm), epsilon)),
            qkv: nn::linear(&part("attn.qkv")),
            out: nn::linear(&part("attn.proj")),
            heads,
            mlp,
        }
    }

    pub fn forward(&self, x: Tensor, places: &Tensor, angles: &RopeAngles, bounds: &[u32]) -> Tensor {
        let (patches, hidden) = (x.dimension(0), x.dimension(1));
        let qkv = self.qkv.forward(&self.norms[0].forward(&x)); // [patches, 3 · hidden]
        let part = |number: u32| {
            let part = qkv.narrow(1, number * hidden, (number + 1) * hidden);
            part.reshape(&[patches, self.heads, hidden / self.heads])
        };
        let (q, k) = (part(0).rope(places, angles), part(1).rope(places, angles));
        let kind = SelfAttention {
            segments: bounds.to_vec(),
            ..SelfAttention::of_heads(hidden / self.heads)
        };
        let mixed = q.attention(&k, &part(2), &kind);
        let x = x + self.out.forward(&mixed.reshape(&[patches, hidden]));
        let fed = match (&self.mlp, self.norms[1].forward(&x)) {
            (Feed::Plain(mlp), normed) => mlp.forward(&normed),
            (Feed::Gated(mlp), normed) => mlp.forward(&normed),
        };
        x + fed
    }
}
