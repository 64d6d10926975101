//! The transformer that SigLIP and CLIP share: pre-norm blocks with biases everywhere.

use serde::Deserialize;

use crate::config::Section;
use crate::nn::{Activation, LayerNorm, Mlp};
use crate::weights::{self, Linear};
use crate::{Context, Result, SelfAttention, Tensor};

/// Sizes of a vision transformer.
#[derive(Debug, Clone, Deserialize)]
pub struct VisionConfig {
    /// Channels of a row.
    pub hidden_size: u32,
    /// How many blocks.
    pub num_hidden_layers: u32,
    /// Attention heads.
    pub num_attention_heads: u32,
    /// Sides of the pictures it was trained on, in pixels.
    pub image_size: u32,
    /// Sides of a patch, in pixels.
    pub patch_size: u32,
    /// Between the two layers of the feed-forward blocks.
    pub hidden_act: Activation,
    /// Added to variances.
    pub layer_norm_eps: f32,
}

impl VisionConfig {
    /// A `vision_config`; what it leaves out is as in transformers' `SiglipVisionConfig`.
    pub fn siglip(section: Section) -> Result<Self> {
        Self::read(section, 16, "gelu_pytorch_tanh", 1e-6)
    }

    /// A `vision_config`; what it leaves out is as in transformers' `CLIPVisionConfig`.
    pub fn clip(section: Section) -> Result<Self> {
        Self::read(section, 32, "quick_gelu", 1e-5)
    }

    /// A `vision_config`; what it leaves out is as in transformers' `PixtralVisionConfig`.
    pub fn pixtral(section: Section) -> Result<Self> {
        let section = section.with_defaults([
            ("hidden_size", 1024.into()),
            ("num_hidden_layers", 24.into()),
            ("num_attention_heads", 16.into()),
            ("image_size", 1024.into()),
        ]);
        Self::read(section, 16, "gelu", 1e-5)
    }

    fn read(section: Section, patch: u32, activation: &str, epsilon: f64) -> Result<Self> {
        let section = section.with_defaults([
            ("hidden_size", 768.into()),
            ("num_hidden_layers", 12.into()),
            ("num_attention_heads", 12.into()),
            ("image_size", 224.into()),
            ("patch_size", patch.into()),
            ("hidden_act", activation.into()),
            ("layer_norm_eps", epsilon.into()),
        ]);
        let config: Self = section.read()?;
        let positive = config.patch_size > 0 && config.num_attention_heads > 0;
        positive
            .then_some(config)
            .context("`patch_size` and `num_attention_heads` of the vision config must not be 0")
    }

    /// How many patches lie along a side of a picture of `image_size`.
    pub fn patches_per_side(&self) -> u32 {
        self.image_size / self.patch_size
    }
}

/// How many blocks run before hidden state `index` is there: as Python indexes the reference's list of hidden states, whose
/// first is the embeddings and whose last is the last block's output. LLaVA's `vision_feature_layer` -2 of 24 blocks is 23.
pub fn layers_before(index: i32, layers: u32) -> Result<u32> {
    let count = if index < 0 {
        layers as i32 + 1 + index
    } else {
        index
    };
    let valid = (0..=layers as i32).contains(&count);
    valid.then_some(count as u32).context(format_args!(
        "there is no hidden state {index} of {layers} layers"
    ))
}

/// Blocks that rows `[n, tokens, hidden]` pass through.
pub struct Encoder {
    layers: Vec<Block>,
}

struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: u32,
}

impl Encoder {
    /// Blocks `NAME.0` to `NAME.(layers - 1)`.
    pub fn load(name: &str, config: &VisionConfig, layers: u32) -> Self {
        Self {
            layers: (0..layers)
                .map(|layer| Block::load(&format!("{name}.{layer}"), config))
                .collect(),
        }
    }

    /// All blocks: `[n, tokens, hidden]` to the same. Pictures of a batch do not see each other.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        self.layers.iter().try_fold(x, |x, layer| layer.forward(x))
    }
}

impl Block {
    fn load(name: &str, config: &VisionConfig) -> Self {
        let norm = |part: &str| LayerNorm::load(&format!("{name}.{part}"), config.layer_norm_eps);
        let linear = |part: &str| weights::linear(&format!("{name}.self_attn.{part}"));
        Self {
            norm1: norm("layer_norm1"),
            attention: Attention {
                q: linear("q_proj"),
                k: linear("k_proj"),
                v: linear("v_proj"),
                out: linear("out_proj"),
                heads: config.num_attention_heads,
            },
            norm2: norm("layer_norm2"),
            mlp: Mlp::load(
                &format!("{name}.mlp.fc1"),
                config.hidden_act,
                &format!("{name}.mlp.fc2"),
            ),
        }
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = &x + self.attention.forward(&self.norm1.forward(&x))?;
        Ok(&x + self.mlp.forward(&self.norm2.forward(&x)))
    }
}

impl Attention {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [n, tokens, hidden] = x.dimensions("the rows of a vision transformer")?;
        let head_dim = hidden / self.heads;
        let split = |layer: &Linear| layer.forward(x).reshape(&[n, tokens, self.heads, head_dim]);
        let kind = SelfAttention::of_heads(head_dim);
        let mixed = split(&self.q).attention(&split(&self.k), &split(&self.v), &kind);
        Ok(self.out.forward(&mixed.reshape(&[n, tokens, hidden])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_states_are_counted_as_python_does() {
        assert_eq!(layers_before(-1, 24).unwrap(), 24);
        assert_eq!(layers_before(-2, 24).unwrap(), 23);
        assert_eq!(layers_before(0, 24).unwrap(), 0);
        assert_eq!(layers_before(24, 24).unwrap(), 24);
        assert!(layers_before(25, 24).is_err());
        assert!(layers_before(-26, 24).is_err());
    }
}
