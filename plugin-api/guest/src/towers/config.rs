//! Sizes of vision transformers.

use serde::Deserialize;

use super::Block;
use crate::config::Section;
use crate::nn::Activation;
use crate::weights::Weights;
use crate::{Context, Result};

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

    /// The first `layers` blocks at this place: see [`layers_before`].
    pub fn blocks(&self, place: &Weights, layers: u32) -> Result<Vec<Block>> {
        let (heads, activation, epsilon) = (self.num_attention_heads, self.hidden_act, self.layer_norm_eps);
        (0..layers)
            .map(|layer| Block::load(&place.at(layer), heads, activation, epsilon))
            .collect()
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
