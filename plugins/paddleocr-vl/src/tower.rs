//! SigLIP's vision transformer (arXiv:2303.15343) on pictures of any size: learned positions stretched to the picture, and rotary ones.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::towers::{Block, VisionConfig};
use monocle_plugin::{Interpolation, Pairing};

/// Pixels to patches.
pub struct Tower {
    patches: Conv2d,
    /// `[side · side, hidden]`
    positions: Parameter,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Tower {
    /// `embeddings`, `encoder.layers` (or `layers`) and `post_layernorm` at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let (embeddings, blocks) = (place.at("embeddings"), place.pick(&["encoder.layers", "layers"]));
        Ok(Self {
            patches: Conv2d::patches(&embeddings.at("patch_embedding"), config.patch_size)?,
            positions: embeddings.parameter("position_embedding.weight"),
            blocks: config.blocks(&blocks, config.num_hidden_layers)?,
            norm: place.norm("post_layernorm", config.layer_norm_eps),
        })
    }

    /// Pixels `[1, height, width, 3]` to `[1, rows, columns, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [_, rows, columns, hidden] = patches.dimensions("the patches")?;
        let table = self.positions.value();
        let side = table.dimension(0).isqrt();
        let table = table.reshape(&[1, side, side, hidden]);
        let positions = table.interpolate(rows, columns, Interpolation::Bilinear, false, false);
        let x = (patches + positions).reshape(&[rows * columns, hidden]);
        let (count, across) = ((rows * columns) as i32, columns as i32);
        let down = (0..count).map(|patch| patch / across);
        let places: Vec<i32> = down.chain((0..count).map(|patch| patch % across)).collect();
        let places = ints(&[2, rows * columns], &places);
        let angles = angles(self.blocks.first().map_or(0, |block| block.attention.head_dim));
        let block = |x: Tensor, block: &Block| block.forward_at(x, &places, &angles, &[]);
        let x = self.blocks.iter().fold(x, block);
        Ok(self.norm.forward(&x).reshape(&[1, rows, columns, hidden]))
    }
}

/// The first half of the pairs turns by the row, the second by the column.
fn angles(head: u32) -> RopeAngles {
    let half = frequencies(10_000.0, head / 2);
    RopeAngles {
        axes: [vec![0; half.len()], vec![1; half.len()]].concat(),
        frequencies: [half.clone(), half].concat(),
        pairing: Pairing::Halves,
        scale: 1.0,
    }
}
