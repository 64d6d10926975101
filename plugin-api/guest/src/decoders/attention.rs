//! Attention over what a sequence has seen, and over its context.

use super::{LlamaConfig, Part, Step};
use crate::nn;
use crate::weights::Weights;
use crate::{CachedAttention, Result, RopeAngles, Tensor, ensure};

/// Attention over what the sequence has seen so far.
pub struct Attention {
    heads: nn::Attention,
    kind: CachedAttention,
    angles: Option<RopeAngles>,
    /// Those of prompts beyond the trained context, where they differ.
    long_angles: Option<RopeAngles>,
}

impl Attention {
    /// As [`nn::Attention::grouped`] at this place, with rotary positions, as layer number `layer`.
    pub fn load(place: &Weights, config: &LlamaConfig, layer: u32) -> Result<Self> {
        let head_dim = config.head_dim();
        let heads = nn::Attention::grouped(place, config.num_attention_heads, head_dim, config.rms_norm_eps)?
            .with_norm_offset(config.norm_offset);
        let (configured, kv_heads) = (config.num_key_value_heads, heads.kv_heads);
        ensure!(
            configured.is_none_or(|configured| configured == kv_heads),
            "the config says {} key-value heads, the weights of {place} have {kv_heads}",
            configured.unwrap_or(0)
        );
        let window = config.windows.get(layer as usize).copied().flatten();
        let rope = match (window, &config.window_rope) {
            (Some(_), Some(rope)) => rope,
            _ => &config.rope,
        };
        let long_rope = config.long_rope.as_ref();
        Ok(Self {
            heads,
            kind: CachedAttention {
                scale: 1.0 / config.query_pre_attn_scalar.unwrap_or(head_dim as f32).sqrt(),
                softcap: config.attn_logit_softcapping,
                window,
                ..CachedAttention::of_heads(head_dim, layer)
            },
            angles: Some(rope.angles(head_dim)?),
            long_angles: long_rope.map(|rope| rope.angles(head_dim)).transpose()?,
        })
    }

    /// Without rotary positions, for models that add positions to their embeddings.
    pub fn plain(heads: nn::Attention, layer: u32) -> Self {
        Self {
            kind: CachedAttention::of_heads(heads.head_dim, layer),
            heads,
            angles: None,
            long_angles: None,
        }
    }

    /// Rotary positions: `[tokens, heads, dim]` to the same.
    fn turn(&self, x: Tensor, step: &Step) -> Tensor {
        let Some(angles) = &self.angles else { return x };
        let turned = x.rope(&step.positions, angles);
        match (&step.long, &self.long_angles) {
            (Some(long), Some(angles)) => long.select(&x.rope(&step.positions, angles), &turned),
            _ => turned,
        }
    }
}

impl Part for Attention {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let [q, k, v] = self.heads.project(x);
        let (mut q, k) = (self.turn(q, step), self.turn(k, step));
        if let Some(scales) = &step.scales {
            q = q * scales;
        }
        self.heads.merge(&step.batch.attend(&q, &k, Some(&v), self.kind))
    }
}

/// Attention over the context of a sequence: what its encoder gave, or features of its media. Keys and values are made of it once, and kept.
pub struct CrossAttention {
    heads: nn::Attention,
    kind: CachedAttention,
}

impl CrossAttention {
    /// As layer number `layer`.
    pub fn new(heads: nn::Attention, layer: u32) -> Self {
        Self {
            kind: CachedAttention::of_heads(heads.head_dim, layer),
            heads,
        }
    }
}

impl Part for CrossAttention {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let q = self.heads.query(x);
        let new = step.new_context().map(|context| self.heads.keys_values(context));
        let [k, v] = [0, 1].map(|part| new.as_ref().map(|new| &new[part]));
        self.heads.merge(&step.batch.cross_attend(&q, k, v, self.kind))
    }
}
