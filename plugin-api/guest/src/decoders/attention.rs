//! A decoder layer's attention over what its sequence has seen.

use crate::nn::RmsNorm;
use crate::weights::{self, Linear};
use crate::{Batch, CachedAttention, Context, Error, Result, RopeAngles, Tensor};

use super::LlamaConfig;

/// Grouped-query attention (arXiv:2305.13245) with rotary positions.
pub struct Attention {
    projections: Projections,
    /// Norms of each head's q and k, where the checkpoint has them (Qwen3, Gemma 3).
    head_norms: Option<(RmsNorm, RmsNorm)>,
    out: Linear,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    kind: CachedAttention,
    angles: RopeAngles,
    /// Those of prompts beyond the trained context, where they differ.
    long_angles: Option<RopeAngles>,
}

/// Where the rows of a step are.
pub struct Positions {
    /// For rotary embeddings: int `[axes, tokens]`.
    pub axes: Tensor,
    /// 1 at rows of prompts beyond the trained context: int `[tokens, 1, 1]`.
    pub long: Option<Tensor>,
    /// What queries are multiplied by, if anything: `[tokens, 1, 1]`.
    pub scales: Option<Tensor>,
}

enum Projections {
    Separate {
        q: Linear,
        k: Linear,
        v: Linear,
    },
    /// One layer whose outputs are q, k and v one after another (Phi-3).
    Fused(Linear),
}

impl Attention {
    /// `NAME.q_proj`, `k_proj`, `v_proj` (or `qkv_proj`) and `o_proj`, with biases and head norms where they exist.
    pub fn load(name: &str, config: &LlamaConfig, layer: u32) -> Result<Self> {
        let linear = |part: &str| weights::linear(&format!("{name}.{part}"));
        let has = |part: &str| weights::has(&format!("{name}.{part}.weight"));
        let norm = |part: &str| {
            RmsNorm::load_with_offset(&format!("{name}.{part}"), config.rms_norm_eps, config.norm_offset)
        };
        let projections = if has("qkv_proj") {
            Projections::Fused(linear("qkv_proj"))
        } else {
            Projections::Separate {
                q: linear("q_proj"),
                k: linear("k_proj"),
                v: linear("v_proj"),
            }
        };
        let head_dim = config.head_dim();
        let heads = config.num_attention_heads;
        let kv_heads = projections
            .kv_heads(heads, head_dim)
            .context(format_args!("`{name}`"))?;
        if let Some(configured) = config.num_key_value_heads
            && configured != kv_heads
        {
            return Err(Error::new(format_args!(
                "the config says {configured} key-value heads, the weights of `{name}` have {kv_heads}"
            )));
        }
        let window = config.windows.get(layer as usize).copied().flatten();
        let rope = match (window, &config.window_rope) {
            (Some(_), Some(rope)) => rope,
            _ => &config.rope,
        };
        Ok(Self {
            projections,
            head_norms: has("q_norm").then(|| (norm("q_norm"), norm("k_norm"))),
            out: linear("o_proj"),
            heads,
            kv_heads,
            head_dim,
            kind: CachedAttention {
                layer,
                scale: 1.0 / config.query_pre_attn_scalar.unwrap_or(head_dim as f32).sqrt(),
                softcap: config.attn_logit_softcapping,
                window,
                value_dim: None,
            },
            angles: rope.angles(head_dim)?,
            long_angles: config
                .long_rope
                .as_ref()
                .map(|rope| rope.angles(head_dim))
                .transpose()?,
        })
    }

    /// `[tokens, hidden]` to the same.
    pub fn forward(&self, x: &Tensor, batch: &Batch, positions: &Positions) -> Tensor {
        let tokens = x.dimension(0);
        let (q, k, v) =
            self.projections
                .forward(x, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut q = q.reshape(&[tokens, self.heads, self.head_dim]);
        let mut k = k.reshape(&[tokens, self.kv_heads, self.head_dim]);
        let v = v.reshape(&[tokens, self.kv_heads, self.head_dim]);
        if let Some((q_norm, k_norm)) = &self.head_norms {
            (q, k) = (q_norm.forward(&q), k_norm.forward(&k));
        }
        let (mut q, k) = (self.turn(&q, positions), self.turn(&k, positions));
        if let Some(scales) = &positions.scales {
            q = q * scales;
        }
        let mixed = batch.attend(&q, &k, Some(&v), self.kind);
        self.out
            .forward(&mixed.reshape(&[tokens, self.heads * self.head_dim]))
    }
}

impl Attention {
    /// Rotary positions: `[tokens, heads, dim]` to the same.
    fn turn(&self, x: &Tensor, positions: &Positions) -> Tensor {
        let turned = x.rope(&positions.axes, &self.angles);
        match (&positions.long, &self.long_angles) {
            (Some(long), Some(angles)) => long.select(&x.rope(&positions.axes, angles), &turned),
            _ => turned,
        }
    }
}

impl Projections {
    /// How many key-value heads the weights have: configs may leave it out, or be of a class with another default than the one
    /// that wrote the checkpoint.
    fn kv_heads(&self, heads: u32, head_dim: u32) -> Result<u32> {
        let (q, k) = match self {
            Self::Separate { q, k, .. } => (q.shape()[0], k.shape()[0]),
            Self::Fused(layer) => {
                let all = layer.shape()[0];
                (heads * head_dim, all.saturating_sub(heads * head_dim) / 2)
            }
        };
        let fits = q == heads * head_dim && k > 0 && k % head_dim == 0 && heads.is_multiple_of(k / head_dim);
        fits.then_some(k / head_dim).context(format_args!(
            "projections to {q} (queries) and {k} (keys) do not fit {heads} heads of {head_dim}"
        ))
    }

    fn forward(&self, x: &Tensor, q_size: u32, kv_size: u32) -> (Tensor, Tensor, Tensor) {
        match self {
            Self::Separate { q, k, v } => (q.forward(x), k.forward(x), v.forward(x)),
            Self::Fused(layer) => {
                let all = layer.forward(x);
                let (k, v) = (q_size, q_size + kv_size);
                (
                    all.narrow(1, 0, k),
                    all.narrow(1, k, v),
                    all.narrow(1, v, v + kv_size),
                )
            }
        }
    }
}
