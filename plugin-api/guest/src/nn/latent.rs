//! Multi-head latent attention (arXiv:2405.04434, section 2.1).

use serde::Deserialize;

use super::Norm;
use crate::config::Section;
use crate::rope::RopeConfig;
use crate::weights::{Linear, Weights};
use crate::{Batch, CachedAttention, Pairing, Result, RopeAngles, Tensor, concat, ensure};

/// Sizes: keys of text configs.
#[derive(Debug, Clone, Deserialize)]
pub struct LatentConfig {
    /// Heads.
    pub num_attention_heads: u32,
    /// Channels of the latent that is cached.
    pub kv_lora_rank: u32,
    /// Channels of a head's keys that have no position.
    pub qk_nope_head_dim: u32,
    /// Channels that turn with the position; all heads share those of the keys.
    pub qk_rope_head_dim: u32,
    /// Channels of a head's values.
    pub v_head_dim: u32,
    /// Added to the mean of squares in norms.
    #[serde(default = "epsilon")]
    pub rms_norm_eps: f32,
    #[serde(skip)]
    rope: RopeConfig,
    /// What scores are multiplied by.
    #[serde(skip)]
    scale: f32,
}

fn epsilon() -> f32 {
    1e-6
}

impl LatentConfig {
    /// From a text config.
    pub fn read(text_config: &Section) -> Result<Self> {
        let mut config: Self = text_config.read()?;
        ensure!(
            config.num_attention_heads > 0 && config.kv_lora_rank > 0,
            "`num_attention_heads` and `kv_lora_rank` of the text config must not be 0"
        );
        config.rope = RopeConfig::read(text_config, false)?;
        // Neighbours turn together, unless the config says that halves do.
        if text_config.get_or("rope_interleave", true)? {
            config.rope.pairing = Pairing::Neighbours;
        }
        let dim = config.qk_nope_head_dim + config.qk_rope_head_dim;
        config.scale = sharper(text_config)? / (dim as f32).sqrt();
        Ok(config)
    }
}

/// What YaRN's rule for long contexts (arXiv:2309.00071) multiplies scores by, if the config has it.
fn sharper(text_config: &Section) -> Result<f32> {
    let newer = text_config.has("rope_parameters");
    let section = text_config.section(if newer { "rope_parameters" } else { "rope_scaling" })?;
    let (factor, all): (f64, f64) = (
        section.get_or("factor", 1.0)?,
        section.get_or("mscale_all_dim", 0.0)?,
    );
    Ok(match factor > 1.0 {
        true => (0.1 * all * factor.ln() + 1.0).powi(2) as f32,
        false => 1.0,
    })
}

/// Attention whose cache holds one latent a token in place of keys and values of all heads: `[tokens, hidden]` to the same.
///
/// `kv_b_proj` would make keys and values of the latent. It is taken into the queries and out of the values, head by head and as it is stored, so
/// that neither is ever there: for one head, qᵀ (W c) = (Wᵀ q)ᵀ c.
pub struct LatentAttention {
    q: Query,
    down: Linear,
    norm: Norm,
    up: Linear,
    out: Linear,
    config: LatentConfig,
    angles: RopeAngles,
    kind: CachedAttention,
}

enum Query {
    Whole(Linear),
    Latent { down: Linear, norm: Norm, up: Linear },
}

impl LatentAttention {
    /// At this place: `q_proj`, or `q_a_proj`, `q_a_layernorm` and `q_b_proj`; `kv_a_proj_with_mqa`, `kv_a_layernorm`, `kv_b_proj`, `o_proj`. Its
    /// cache has the number `layer`.
    pub fn load(place: &Weights, config: &LatentConfig, layer: u32) -> Result<Self> {
        let norm = |name: &str| Norm::rms(&place.at(name), config.rms_norm_eps);
        let q = match place.has("q_proj.weight") {
            true => Query::Whole(place.linear("q_proj")),
            false => Query::Latent {
                down: place.linear("q_a_proj"),
                norm: norm("q_a_layernorm"),
                up: place.linear("q_b_proj"),
            },
        };
        Ok(Self {
            q,
            down: place.linear("kv_a_proj_with_mqa"),
            norm: norm("kv_a_layernorm"),
            up: place.linear("kv_b_proj"),
            out: place.linear("o_proj"),
            angles: config.rope.angles(config.qk_rope_head_dim)?,
            kind: CachedAttention {
                scale: config.scale,
                value_dim: Some(config.kv_lora_rank),
                ..CachedAttention::of_heads(1, layer)
            },
            config: config.clone(),
        })
    }

    /// Applies it; `positions` are the batch's.
    pub fn forward(&self, x: &Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let (tokens, sizes) = (x.dimension(0), &self.config);
        let (heads, plain, turning) = (
            sizes.num_attention_heads,
            sizes.qk_nope_head_dim,
            sizes.qk_rope_head_dim,
        );
        let q = match &self.q {
            Query::Whole(layer) => layer.forward(x),
            Query::Latent { down, norm, up } => up.forward(&norm.forward(&down.forward(x))),
        };
        let [q, q_turning] = q
            .reshape(&[tokens, heads, plain + turning])
            .split([plain, turning], -1);
        // The rows of a head's values take no part in scores.
        let q = self
            .up
            .forward_heads(&q.pad(2, 0, sizes.v_head_dim, 0.0), heads, true); // [tokens, heads, latent]
        let q = concat(&[&q, &q_turning.rope(positions, &self.angles)], 2);
        let [latent, k_turning] = self.down.forward(x).split([sizes.kv_lora_rank, turning], -1);
        let latent = self.norm.forward(&latent).unsqueeze(1); // [tokens, 1, latent]
        let k_turning = k_turning.unsqueeze(1).rope(positions, &self.angles);
        let k = concat(&[&latent, &k_turning], 2);
        let mixed = batch.attend(&q, &k, None, self.kind); // [tokens, heads, latent]
        let values = self
            .up
            .forward_heads(&mixed, heads, false)
            .narrow(-1, plain, plain + sizes.v_head_dim);
        self.out.forward(&values.flatten(1, 2))
    }
}
