//! CLIP's vision transformer (arXiv:2103.00020).

use super::{Encoder, Positions, VisionConfig};
use crate::nn::{LayerNorm, PatchEmbedding};
use crate::weights::{self, Embedding, Parameter};
use crate::{Result, Tensor, concat, ints};

/// A class token, patches with learned positions, a norm before the blocks.
pub struct Clip {
    class: Parameter,
    patches: PatchEmbedding,
    position: Embedding,
    side: u32,
    norm: LayerNorm,
    encoder: Encoder,
}

impl Clip {
    /// `NAME.embeddings`, `NAME.pre_layrnorm` (as checkpoints spell it) and the first `layers` of `NAME.encoder.layers`: see
    /// [`super::layers_before`].
    pub fn load(name: &str, config: &VisionConfig, layers: u32) -> Result<Self> {
        Ok(Self {
            class: weights::parameter(&format!("{name}.embeddings.class_embedding")),
            patches: PatchEmbedding::load(&format!("{name}.embeddings.patch_embedding"), config.patch_size)?,
            position: weights::embedding(&format!("{name}.embeddings.position_embedding")),
            side: config.patches_per_side(),
            norm: LayerNorm::load(&format!("{name}.pre_layrnorm"), config.layer_norm_eps),
            encoder: Encoder::load(&format!("{name}.encoder.layers"), config, layers),
        })
    }

    /// Pixels `[n, height, width, 3]` to hidden states `[n, 1 + patches, hidden]`, the class token first.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, height, width, hidden] = patches.dimensions("the patches")?;
        let count = Positions::Fixed.rows(height, width, self.side)?.len() as u32;
        let patches = patches.reshape(&[n, count, hidden]);
        let class = self
            .class
            .value()
            .reshape(&[1, 1, hidden])
            .broadcast(&[n, 1, hidden]);
        let rows: Vec<i32> = (0..=count as i32).collect();
        let position = self.position.forward(&ints(&[count + 1], &rows)); // [1 + patches, hidden]
        let x = concat(&[&class, &patches], 1) + position;
        self.encoder.forward(self.norm.forward(&x))
    }
}
