//! The architecture: tower, projector, decoder.

use monocle_plugin::prelude::*;
use monocle_plugin::weights::Linear;
use monocle_plugin::{concat, full};

use crate::decoder::Decoder;
use crate::tower::{Tower, VisionConfig};

/// What keys of empty tiles add to the score of a row that sees pictures, before scaling: no weight is left of it, and 16-bit floats
/// can hold it.
const HIDDEN: f32 = -30_000.0;

/// Vision tower, projector, decoder.
pub struct Mllama {
    tower: Tower,
    projector: Linear,
    decoder: Decoder,
}

impl Network for Mllama {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        // Names of checkpoints, of conversions to MLX, and inside transformers.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = ["vision_model", "vision_tower", "model.vision_model"];
        let tower = part(&tower, "class_embedding")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = part(&projector, "weight")?;
        let decoder = part(&["language_model.model", "model.language_model"], "norm.weight")?;
        let head = match decoder {
            "language_model.model" => "language_model.lm_head",
            _ => "lm_head",
        };
        Ok(Self {
            tower: Tower::load(tower, &VisionConfig::read(&config)?)?,
            projector: weights::linear(projector),
            decoder: Decoder::load(decoder, head, &config)?,
        })
    }

    /// Features of all tiles, the empty ones last, with one more channel: what their keys add to scores.
    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let aspect = *layout.first().context("a layout without an aspect ratio")?;
        let features = self.projector.forward(&self.tower.forward(pixels, aspect)?); // [all tiles · patches, hidden]
        let all = features.dimension(0);
        let filled = self.tower.rows_of_tiles(pixels.dimension(0));
        let seen = full(&[filled, 1], 0.0);
        let hidden = match filled < all {
            true => concat(&[&seen, &full(&[all - filled, 1], HIDDEN)], 0),
            false => seen,
        };
        Ok(vec![concat(&[&features, &hidden], 1)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        self.decoder.forward(batch)
    }
}
