//! SigLIP's vision transformer (arXiv:2303.15343).

use super::{Encoder, Positions, VisionConfig};
use crate::nn::{LayerNorm, PatchEmbedding};
use crate::weights::{self, Embedding};
use crate::{Result, Tensor, ints};

/// Patches with learned positions, blocks, a final norm; no class token.
pub struct Siglip {
    patches: PatchEmbedding,
    position: Embedding,
    positions: Positions,
    side: u32,
    encoder: Encoder,
    norm: Option<LayerNorm>,
}

impl Siglip {
    /// `NAME.embeddings`, `NAME.encoder.layers` and `NAME.post_layernorm`. With `layers`, only so many blocks and no final norm:
    /// see [`super::layers_before`].
    pub fn load(
        name: &str,
        config: &VisionConfig,
        positions: Positions,
        layers: Option<u32>,
    ) -> Result<Self> {
        let depth = layers.unwrap_or(config.num_hidden_layers);
        let norm = || LayerNorm::load(&format!("{name}.post_layernorm"), config.layer_norm_eps);
        Ok(Self {
            patches: PatchEmbedding::load(&format!("{name}.embeddings.patch_embedding"), config.patch_size)?,
            position: weights::embedding(&format!("{name}.embeddings.position_embedding")),
            positions,
            side: config.patches_per_side(),
            encoder: Encoder::load(&format!("{name}.encoder.layers"), config, depth),
            norm: layers.is_none().then(norm),
        })
    }

    /// Pixels `[n, height, width, 3]` to features `[n, patches, hidden]`, patches row by row.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, height, width, hidden] = patches.dimensions("the patches")?;
        let rows = self.positions.rows(height, width, self.side)?;
        let position = self.position.forward(&ints(&[height * width], &rows)); // [patches, hidden]
        let x = patches.reshape(&[n, height * width, hidden]) + position;
        let x = self.encoder.forward(x)?;
        Ok(match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        })
    }
}
