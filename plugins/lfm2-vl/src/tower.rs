//! SigLIP 2's vision transformer for pictures of any size (NaFlex, arXiv:2502.14786).

use monocle_plugin::Interpolation;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Block, VisionConfig};

/// Patches as rows of a matrix, a square table of positions that is stretched to each picture's grid, blocks, a final norm.
pub struct Siglip2 {
    patches: Linear,
    patch: u32,
    position: Embedding,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Siglip2 {
    /// `embeddings`, `encoder.layers` and `post_layernorm` at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let embeddings = place.at("embeddings");
        Ok(Self {
            patches: embeddings.linear("patch_embedding"),
            patch: config.patch_size,
            position: embeddings.embedding("position_embedding"),
            blocks: config.blocks(&place.at("encoder.layers"), config.num_hidden_layers)?,
            norm: place.norm("post_layernorm", config.layer_norm_eps),
        })
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
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = self.norm.forward(&x);
        Ok(x.reshape(&[n, rows, columns, x.dimension(-1)]))
    }

    /// Position embeddings of a grid: `[rows · columns, hidden]`.
    fn positions(&self, rows: u32, columns: u32) -> Result<Tensor> {
        let shape = self.position.shape();
        let (count, hidden) = (shape[0], shape[1]);
        let side = count.isqrt();
        ensure!(
            side * side == count,
            "the position table has {count} rows, which are no square"
        );
        let all: Vec<i32> = (0..count as i32).collect();
        let table = self.position.forward(&ints(&[count], &all));
        let table = table.reshape(&[1, side, side, hidden]);
        let stretched = table.interpolate(rows, columns, Interpolation::Bilinear, false, true);
        Ok(stretched.reshape(&[rows * columns, hidden]))
    }
}
