//! The architecture: tower, projector, decoder.

use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::decoder;
use crate::tower::Tower;

/// What keys of empty tiles add to the score of a row that sees pictures, before scaling: no weight is left of it, and 16-bit floats
/// can hold it.
const HIDDEN: f32 = -30_000.0;

/// Vision tower, projector, decoder.
pub struct Mllama {
    tower: Tower,
    projector: Linear,
    language: Decoder,
}

impl Network for Mllama {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        // Names of checkpoints, of conversions to MLX, and inside transformers.
        let tower = ["vision_model", "vision_tower", "model.vision_model"];
        let tower = root.find(&tower, "class_embedding")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let text = root.find(&["language_model.model", "model.language_model"], "norm.weight")?;
        Ok(Self {
            tower: Tower::load(&tower, &VisionConfig::read(&config)?)?,
            projector: root.find(&projector, "weight")?.linear(""),
            language: decoder::load(&text, &config)?,
        })
    }

    /// Features of all tiles, the empty ones last, with one more channel: what their keys add to scores.
    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let aspect = *layout.first().context("a layout without an aspect ratio")?;
        let features = self.tower.forward(&pixels[0], aspect)?;
        let features = self.projector.forward(&features); // [all tiles · patches, hidden]
        let all = features.dimension(0);
        let filled = self.tower.rows_of_tiles(pixels[0].dimension(0));
        let seen = full(&[filled, 1], 0.0);
        let hidden = match filled < all {
            true => concat(&[&seen, &full(&[all - filled, 1], HIDDEN)], 0),
            false => seen,
        };
        Ok(vec![concat(&[&features, &hidden], 1)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = self
            .language
            .forward(self.language.embed(batch), &self.step(batch));
        Ok(self.language.logits(&x, batch))
    }
}
