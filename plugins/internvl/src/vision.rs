//! InternViT (arXiv:2312.14238): a class token, learned positions, pre-norm blocks whose outputs are scaled channel by channel.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Block, Positions};

use crate::config::Config;

/// The tower.
pub struct InternVit {
    class: Parameter,
    position: Parameter,
    patches: Conv2d,
    side: u32,
    blocks: Vec<Block>,
}

impl InternVit {
    /// `embeddings` and `encoder` at this place, in the names of the original checkpoints or of transformers.
    pub fn load(place: &Weights, config: &Config) -> Result<Self> {
        let (embeddings, encoder) = (place.at("embeddings"), place.at("encoder"));
        let [class, position, patches, blocks] = match config.original {
            true => [
                "class_embedding",
                "position_embedding",
                "patch_embedding",
                "layers",
            ],
            false => [
                "cls_token",
                "position_embeddings",
                "patch_embeddings.projection",
                "layer",
            ],
        };
        Ok(Self {
            class: embeddings.parameter(class),
            position: embeddings.parameter(position),
            patches: Conv2d::patches(&embeddings.at(patches), config.vision.patch_size)?,
            side: config.vision.patches_per_side(),
            blocks: config.vision.blocks(&encoder.at(blocks), config.layers)?,
        })
    }

    /// Pixels `[n, height, width, 3]` to features of the patches `[n, patches, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, height, width, hidden] = patches.dimensions("the patches")?;
        let count = Positions::Fixed.rows(height, width, self.side)?.len() as u32;
        let class = self.class.value().reshape(&[1, 1, hidden]);
        let class = class.broadcast(&[n, 1, hidden]);
        let position = self.position.value().reshape(&[1 + count, hidden]);
        let x = concat(&[&class, &patches.flatten(1, 2)], 1) + position;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        Ok(x.narrow(1, 1, 1 + count))
    }
}
