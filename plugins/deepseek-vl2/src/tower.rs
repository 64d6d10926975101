//! SigLIP's vision transformer (arXiv:2303.15343) in timm's names: patches with learned positions, blocks, a norm. Its head is not used.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Block, Positions};

use crate::config::VisionConfig;

const EPSILON: f32 = 1e-6;

/// Pixels to patches.
pub struct Tower {
    patches: Conv2d,
    positions: Parameter,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Tower {
    /// `patch_embed`, `pos_embed`, `blocks` and `norm` at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let block = |number| {
            let place = place.at("blocks").at(number);
            Block::load(&place, config.heads, Activation::GeluTanh, EPSILON)
        };
        Ok(Self {
            patches: Conv2d::patches(&place.at("patch_embed.proj"), config.patch_size)?,
            positions: place.parameter("pos_embed"),
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            norm: place.norm("norm", EPSILON),
        })
    }

    /// Pixels `[n, side, side, 3]` to `[n, rows, columns, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, rows, columns, hidden] = patches.dimensions("the patches")?;
        let positions = self.positions.value(); // [1, side · side, hidden]
        let side = positions.dimension(1).isqrt();
        Positions::Fixed.rows(rows, columns, side)?;
        let x = patches.flatten(1, 2) + positions;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        Ok(self.norm.forward(&x).reshape(&[n, rows, columns, hidden]))
    }
}
