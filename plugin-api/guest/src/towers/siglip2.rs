//! SigLIP 2's vision transformer for pictures of any size (NaFlex, arXiv:2502.14786).

use super::{Encoder, VisionConfig};
use crate::nn::LayerNorm;
use crate::weights::{self, Embedding, Linear};
use crate::{Context, Interpolation, Result, Tensor, ints};

/// Patches as rows of a matrix, a square table of positions that is stretched to each picture's grid, blocks, a final norm.
pub struct Siglip2 {
    patches: Linear,
    patch: u32,
    position: Embedding,
    encoder: Encoder,
    norm: LayerNorm,
}

impl Siglip2 {
    /// `NAME.embeddings`, `NAME.encoder.layers` and `NAME.post_layernorm`.
    pub fn load(name: &str, config: &VisionConfig) -> Self {
        Self {
            patches: weights::linear(&format!("{name}.embeddings.patch_embedding")),
            patch: config.patch_size,
            position: weights::embedding(&format!("{name}.embeddings.position_embedding")),
            encoder: Encoder::load(
                &format!("{name}.encoder.layers"),
                config,
                config.num_hidden_layers,
            ),
            norm: LayerNorm::load(&format!("{name}.post_layernorm"), config.layer_norm_eps),
        }
    }

    /// Pixels `[n, height, width, 3]`, whole patches, to features `[n, rows of patches, columns of patches, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let [n, height, width, channels] = pixels.dimensions("the pixel tensor")?;
        let (rows, columns) = (height / self.patch, width / self.patch);
        let patches = pixels
            .reshape(&[n, rows, self.patch, columns, self.patch * channels])
            .permute(&[0, 1, 3, 2, 4])
            .reshape(&[n, rows * columns, self.patch * self.patch * channels]);
        let x = self.patches.forward(&patches) + self.positions(rows, columns)?;
        let [_, _, hidden] = x.dimensions("the patches")?;
        let x = self.norm.forward(&self.encoder.forward(x)?);
        Ok(x.reshape(&[n, rows, columns, hidden]))
    }

    /// Position embeddings of a grid: `[rows · columns, hidden]`.
    fn positions(&self, rows: u32, columns: u32) -> Result<Tensor> {
        let [count, hidden] = self.position.shape()[..] else {
            return Err(crate::Error::new("the position table must have 2 dimensions"));
        };
        let side = count.isqrt();
        (side * side == count).then_some(()).context(format_args!(
            "the position table has {count} rows, which are no square"
        ))?;
        let all: Vec<i32> = (0..count as i32).collect();
        let table = self
            .position
            .forward(&ints(&[count], &all))
            .reshape(&[1, side, side, hidden]);
        let stretched = table.interpolate(rows, columns, Interpolation::Bilinear, false, true);
        Ok(stretched.reshape(&[rows * columns, hidden]))
    }
}
