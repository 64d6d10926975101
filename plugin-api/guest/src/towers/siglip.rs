//! SigLIP's vision transformer (arXiv:2303.15343).

use super::{Block, Positions, VisionConfig};
use crate::nn::{Conv2d, Norm};
use crate::weights::{Embedding, Weights};
use crate::{Result, Tensor, ints};

/// Patches with learned positions, blocks, a final norm; no class token.
pub struct Siglip {
    patches: Conv2d,
    position: Embedding,
    positions: Positions,
    side: u32,
    blocks: Vec<Block>,
    norm: Option<Norm>,
}

impl Siglip {
    /// `embeddings`, `encoder.layers` and `post_layernorm` at this place. With `layers`, only so many blocks and no final norm: see
    /// [`super::layers_before`].
    pub fn load(
        place: &Weights,
        config: &VisionConfig,
        positions: Positions,
        layers: Option<u32>,
    ) -> Result<Self> {
        let embeddings = place.at("embeddings");
        let depth = layers.unwrap_or(config.num_hidden_layers);
        let norm = || place.norm("post_layernorm", config.layer_norm_eps);
        Ok(Self {
            patches: Conv2d::patches(&embeddings.at("patch_embedding"), config.patch_size)?,
            position: embeddings.embedding("position_embedding"),
            positions,
            side: config.patches_per_side(),
            blocks: config.blocks(&place.at("encoder.layers"), depth)?,
            norm: layers.is_none().then(norm),
        })
    }

    /// Pixels `[n, height, width, 3]` to features `[n, patches, hidden]`, patches row by row.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [_, height, width, _] = patches.dimensions("the patches")?;
        let rows = self.positions.rows(height, width, self.side)?;
        let position = self.position.forward(&ints(&[height * width], &rows)); // [patches, hidden]
        let x = patches.flatten(1, 2) + position;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        Ok(match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        })
    }
}
