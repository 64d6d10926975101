//! MoonViT (arXiv:2504.07491 section 2.1): patches of a picture of any size, learned positions stretched to it, and rotary positions whose pairs take
//! turns between columns and rows.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::towers::Block;
use monocle_plugin::{Interpolation, Pairing};

use crate::config::VisionConfig;

const EPSILON: f32 = 1e-5;

/// Pixels to patches.
pub struct MoonVit {
    patches: Conv2d,
    /// `[rows, columns, hidden]`
    positions: Parameter,
    blocks: Vec<Block>,
    norm: Norm,
}

impl MoonVit {
    /// `patch_embed` at this place, `blocks` and `final_layernorm` in `encoder`, or here as conversions have them.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let encoder = place.find(&["encoder", ""], "final_layernorm.weight")?;
        let block = |number| {
            let place = encoder.at("blocks").at(number);
            Block::load(&place, config.num_attention_heads, Activation::GeluTanh, EPSILON)
        };
        Ok(Self {
            patches: Conv2d::patches(&place.at("patch_embed.proj"), config.patch_size)?,
            positions: place.parameter("patch_embed.pos_emb.weight"),
            blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            norm: encoder.norm("final_layernorm", EPSILON),
        })
    }

    /// Pixels `[1, height, width, 3]` to `[1, rows, columns, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let x = self.patches.forward(pixels)?;
        let [_, rows, columns, hidden] = x.dimensions("the patches")?;
        let mut positions = self.positions.value().unsqueeze(0);
        if positions.shape() != x.shape() {
            positions = positions.interpolate(rows, columns, Interpolation::Bicubic, false, false);
        }
        let x = (x + positions).reshape(&[rows * columns, hidden]);
        let patches = 0..(rows * columns) as i32;
        let across = columns as i32;
        let places: Vec<i32> = patches
            .clone()
            .map(|patch| patch / across)
            .chain(patches.map(|patch| patch % across))
            .collect();
        let places = ints(&[2, rows * columns], &places);
        let angles = angles(self.blocks.first().map_or(0, |block| block.attention.head_dim));
        let x = self
            .blocks
            .iter()
            .fold(x, |x, block| block.forward_at(x, &places, &angles, &[]));
        Ok(self.norm.forward(&x).reshape(&[1, rows, columns, hidden]))
    }
}

/// Neighbouring elements turn together: the first pair by the column, the second as fast by the row, and so on.
fn angles(head: u32) -> RopeAngles {
    let each = frequencies(10_000.0, head / 2);
    RopeAngles {
        axes: [1, 0].repeat(each.len()),
        frequencies: each.into_iter().flat_map(|frequency| [frequency; 2]).collect(),
        pairing: Pairing::Neighbours,
        scale: 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_rows_take_turns() {
        // Heads of 8 elements: 10000^(-4i/8) for i = 0 and 1.
        let angles = angles(8);
        assert_eq!(angles.frequencies, [1.0, 1.0, 0.01, 0.01]);
        assert_eq!(angles.axes, [1, 0, 1, 0]);
    }
}
