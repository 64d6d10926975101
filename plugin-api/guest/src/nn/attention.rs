//! Attention (arXiv:1706.03762; grouped queries arXiv:2305.13245).

use super::Norm;
use crate::weights::{Linear, Weights};
use crate::{CachedAttention, Context, Result, RopeAngles, SelfAttention, Tensor, ensure};

/// Projections to heads of queries, keys and values, and back: what all kinds of attention have in common.
pub struct Attention {
    projections: Projections,
    /// Norms of q and k.
    norms: Option<[Norm; 2]>,
    out: Linear,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads.
    pub kv_heads: u32,
    /// Channels of a head.
    pub head_dim: u32,
}

enum Projections {
    Separate([Linear; 3]),
    /// One layer whose outputs are q, k and v one after another.
    Fused(Linear),
}

const FUSED: [&str; 3] = ["qkv_proj", "qkv", "wqkv"];
const OUT: [&str; 5] = ["o_proj", "out_proj", "proj", "wo", "projection_layer"];
const NORMS: [[&str; 2]; 2] = [["q_norm", "k_norm"], ["q_layernorm", "k_layernorm"]];

impl Attention {
    /// As many heads of keys as of queries; the rest as [`Attention::grouped`].
    pub fn load(place: &Weights, heads: u32, epsilon: f32) -> Result<Self> {
        let fused = FUSED
            .into_iter()
            .find(|name| place.has(&format!("{name}.weight")));
        let outputs = match fused {
            Some(name) => place.linear(name).shape()[0] / 3,
            None => place.linear("q_proj").shape()[0],
        };
        ensure!(
            heads > 0 && outputs >= heads,
            "`{}` has {outputs} outputs for {heads} heads",
            place.name("")
        );
        Self::grouped(place, heads, outputs / heads, epsilon)
    }

    /// What is at this place, with biases where they exist: `q_proj`, `k_proj` and `v_proj`, or `qkv_proj` (or `qkv`, `wqkv`), and `o_proj` (or
    /// `out_proj`, `proj`, `wo`, `projection_layer`). Where there are `q_norm` and `k_norm` (or `q_layernorm`, `k_layernorm`), q and k are normed, each
    /// head by itself or all together, as the norm's size says. How many heads keys have, the weights say.
    pub fn grouped(place: &Weights, heads: u32, head_dim: u32, epsilon: f32) -> Result<Self> {
        let stored = |name: &str| place.has(&format!("{name}.weight"));
        let projections = match FUSED.into_iter().find(|name| stored(name)) {
            Some(name) => Projections::Fused(place.linear(name)),
            None => Projections::Separate(["q_proj", "k_proj", "v_proj"].map(|name| place.linear(name))),
        };
        let norms = NORMS.into_iter().find(|[name, _]| stored(name));
        let out = OUT.into_iter().find(|name| stored(name));
        Ok(Self {
            kv_heads: projections.kv_heads(heads, head_dim).context(place)?,
            projections,
            norms: norms.map(|names| names.map(|name| Norm::load(&place.at(name), epsilon))),
            out: place.linear(out.unwrap_or(OUT[0])),
            heads,
            head_dim,
        })
    }

    /// The same with norms that store weights around zero.
    #[must_use]
    pub fn with_norm_offset(mut self, offset: f32) -> Self {
        let norms = self.norms.take();
        self.norms = norms.map(|norms| norms.map(|norm| norm.with_offset(offset)));
        self
    }

    /// q `[.., heads, dim]`, k and v `[.., kv heads, dim]` of rows `[.., hidden]`.
    pub fn project(&self, x: &Tensor) -> [Tensor; 3] {
        let [q, k, v] = match &self.projections {
            Projections::Separate(layers) => layers.each_ref().map(|layer| layer.forward(x)),
            Projections::Fused(layer) => {
                let (heads, kv_heads) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
                layer.forward(x).split([heads, kv_heads, kv_heads], -1)
            }
        };
        [self.split(q, 0), self.split(k, 1), self.split(v, 2)]
    }

    /// q alone, for rows that attend to others. Fused layers have no part that could be asked alone: all of it is computed.
    pub fn query(&self, x: &Tensor) -> Tensor {
        match &self.projections {
            Projections::Separate([q, _, _]) => self.split(q.forward(x), 0),
            Projections::Fused(_) => {
                let [q, _, _] = self.project(x);
                q
            }
        }
    }

    /// k and v alone, of rows that are attended to.
    pub fn keys_values(&self, x: &Tensor) -> [Tensor; 2] {
        match &self.projections {
            Projections::Separate([_, k, v]) => [self.split(k.forward(x), 1), self.split(v.forward(x), 2)],
            Projections::Fused(_) => {
                let [_, k, v] = self.project(x);
                [k, v]
            }
        }
    }

    /// Heads `[.., heads, dim]` to rows `[.., hidden]`.
    pub fn merge(&self, mixed: &Tensor) -> Tensor {
        self.out.forward(&mixed.flatten(-2, -1))
    }

    /// Every row sees every row: `[tokens, hidden]` or `[n, tokens, hidden]` to the same. Pictures of a batch do not see each other.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let [q, k, v] = self.project(x);
        self.merge(&q.attention(&k, &v, &SelfAttention::of_heads(self.head_dim)))
    }

    /// As [`Attention::forward`], with rotary positions, int `[axes, tokens]`, and within segments whose bounds are given (none: one segment).
    pub fn forward_at(
        &self,
        x: &Tensor,
        positions: &Tensor,
        angles: &RopeAngles,
        segments: &[u32],
    ) -> Tensor {
        let [q, k, v] = self.project(x);
        let kind = SelfAttention {
            segments: segments.to_vec(),
            ..SelfAttention::of_heads(self.head_dim)
        };
        let (q, k) = (q.rope(positions, angles), k.rope(positions, angles));
        self.merge(&q.attention(&k, &v, &kind))
    }

    /// Rows `[.., heads · dim]` of queries (0), keys (1) or values (2) as heads, normed.
    fn split(&self, x: Tensor, which: usize) -> Tensor {
        let norm = self.norms.as_ref().and_then(|norms| norms.get(which));
        let mut shape = x.shape();
        shape.pop();
        shape.extend([x.dimension(-1) / self.head_dim, self.head_dim]);
        match norm {
            None => x.reshape(&shape),
            Some(norm) if norm.size() == self.head_dim => norm.forward(&x.reshape(&shape)),
            Some(norm) => norm.forward(&x).reshape(&shape),
        }
    }
}

impl Projections {
    /// How many key-value heads the weights have: configs may leave it out, or be of a class with another default than the one
    /// that wrote the checkpoint.
    fn kv_heads(&self, heads: u32, head_dim: u32) -> Result<u32> {
        ensure!(heads > 0 && head_dim > 0, "{heads} heads of {head_dim} channels");
        let (q, k) = match self {
            Self::Separate([q, k, _]) => (q.shape()[0], k.shape()[0]),
            Self::Fused(layer) => {
                let all = layer.shape()[0];
                (heads * head_dim, all.saturating_sub(heads * head_dim) / 2)
            }
        };
        let fits = q == heads * head_dim && k > 0 && k % head_dim == 0 && heads.is_multiple_of(k / head_dim);
        ensure!(
            fits,
            "projections to {q} (queries) and {k} (keys) do not fit {heads} heads of {head_dim}"
        );
        Ok(k / head_dim)
    }
}

impl CachedAttention {
    /// Heads of so many channels and the cache of this number: scores are multiplied by 1/√dim, all that came before is seen.
    pub fn of_heads(head_dim: u32, layer: u32) -> Self {
        Self {
            layer,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            window: None,
            value_dim: None,
        }
    }
}
