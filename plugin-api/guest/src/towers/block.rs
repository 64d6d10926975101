//! The layer that vision transformers consist of (arXiv:2010.11929).

use crate::nn::{Activation, Attention, Mlp, Norm};
use crate::weights::{Parameter, Weights};
use crate::{Result, RopeAngles, Tensor, UnaryOperation};

/// Attention and a feed-forward block, each after a norm and added to what came in: `[n, tokens, hidden]` or `[tokens, hidden]` to the same.
pub struct Block {
    norms: [Norm; 2],
    /// Its attention.
    pub attention: Attention,
    mlp: Mlp,
    /// What the results of both are multiplied by before they are added.
    weighed: Option<Weighed>,
}

enum Weighed {
    /// By channel (InternViT, DINOv2).
    Scales([Parameter; 2]),
    /// By what tanh lets through (Llama 3.2 Vision).
    Gates([Parameter; 2]),
}

const NORMS: [[&str; 2]; 7] = [
    ["layer_norm1", "layer_norm2"],
    ["norm0", "norm1"],
    ["norm1", "norm2"],
    ["attention_norm", "ffn_norm"],
    ["layernorm_before", "layernorm_after"],
    ["input_layernorm", "post_attention_layernorm"],
    ["ln1", "ln2"],
];
const SCALES: [[&str; 2]; 2] = [["ls1", "ls2"], ["lambda_1", "lambda_2"]];
const GATES: [&str; 2] = ["gate_attn", "gate_ffn"];

impl Block {
    /// What is at this place, in any of the names that SigLIP, CLIP, Pixtral, InternViT, MoonViT, Qwen's towers and that of Llama 3.2 Vision have: norms
    /// with or without biases, attention ([`Attention::load`]), a feed-forward block ([`Mlp::load`]), scales or gates where they exist.
    pub fn load(place: &Weights, heads: u32, activation: Activation, epsilon: f32) -> Result<Self> {
        let norms = NORMS
            .into_iter()
            .find(|[norm, _]| place.has(&format!("{norm}.weight")));
        let parameters = |names: [&str; 2]| names.map(|name| place.parameter(name));
        let scales = SCALES.into_iter().find(|[scale, _]| place.has(scale));
        let scales = scales.map(|names| Weighed::Scales(parameters(names)));
        // MoonViT's blocks hold it themselves.
        let attention = match place.has("wqkv.weight") {
            true => place.clone(),
            false => place.pick(&["self_attn", "attn", "attention"]),
        };
        let gates = || place.has(GATES[0]).then(|| Weighed::Gates(parameters(GATES)));
        Ok(Self {
            norms: norms.unwrap_or(NORMS[0]).map(|norm| place.norm(norm, epsilon)),
            attention: Attention::load(&attention, heads, epsilon)?,
            mlp: Mlp::load(&place.pick(&["mlp", "feed_forward"]), activation),
            weighed: scales.or_else(gates),
        })
    }

    /// Every row sees every row of its picture.
    pub fn forward(&self, x: Tensor) -> Tensor {
        self.forward_with(x, |x| self.attention.forward(x))
    }

    /// With rotary positions, within segments: see [`Attention::forward_at`].
    pub fn forward_at(&self, x: Tensor, positions: &Tensor, angles: &RopeAngles, segments: &[u32]) -> Tensor {
        self.forward_with(x, |x| self.attention.forward_at(x, positions, angles, segments))
    }

    /// With attention of another kind, which gets normed rows.
    pub fn forward_with(&self, x: Tensor, attend: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let mixed = attend(&self.norms[0].forward(&x));
        let x = x + self.weigh(mixed, 0);
        let fed = self.mlp.forward(&self.norms[1].forward(&x));
        x + self.weigh(fed, 1)
    }

    fn weigh(&self, x: Tensor, part: usize) -> Tensor {
        match &self.weighed {
            None => x,
            Some(Weighed::Scales(scales)) => x * scales[part].value(),
            Some(Weighed::Gates(gates)) => x * gates[part].value().unary(UnaryOperation::HyperbolicTangent),
        }
    }
}
