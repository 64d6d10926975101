//! CLIP's vision transformer (arXiv:2103.00020).

use super::{Block, Positions, VisionConfig};
use crate::nn::{Conv2d, Norm};
use crate::weights::{Embedding, Parameter, Weights};
use crate::{Result, Tensor, concat, ints};

/// A class token, patches with learned positions, a norm before the blocks.
pub struct Clip {
    class: Parameter,
    patches: Conv2d,
    position: Embedding,
    side: u32,
    norm: Norm,
    blocks: Vec<Block>,
}

impl Clip {
    /// `embeddings`, `pre_layrnorm` (as checkpoints spell it) and the first `layers` of `encoder.layers` at this place: see
    /// [`super::layers_before`].
    pub fn load(place: &Weights, config: &VisionConfig, layers: u32) -> Result<Self> {
        let embeddings = place.at("embeddings");
        Ok(Self {
            class: embeddings.parameter("class_embedding"),
            patches: Conv2d::patches(&embeddings.at("patch_embedding"), config.patch_size)?,
            position: embeddings.embedding("position_embedding"),
            side: config.patches_per_side(),
            norm: place.norm("pre_layrnorm", config.layer_norm_eps),
            blocks: config.blocks(&place.at("encoder.layers"), layers)?,
        })
    }

    /// Pixels `[n, height, width, 3]` to hidden states `[n, 1 + patches, hidden]`, the class token first.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, height, width, hidden] = patches.dimensions("the patches")?;
        let count = Positions::Fixed.rows(height, width, self.side)?.len() as u32;
        let class = self.class.value().reshape(&[1, 1, hidden]);
        let class = class.broadcast(&[n, 1, hidden]);
        let rows: Vec<i32> = (0..=count as i32).collect();
        let position = self.position.forward(&ints(&[count + 1], &rows)); // [1 + patches, hidden]
        let x = concat(&[&class, &patches.flatten(1, 2)], 1) + position;
        let x = self.norm.forward(&x);
        Ok(self.blocks.iter().fold(x, |x, block| block.forward(x)))
    }
}
