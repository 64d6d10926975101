//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::{TextConfig, VisionConfig};
use crate::crops::Rules;
use crate::decoder::Decoder;
use crate::tower::Tower;

/// Vision tower and decoder.
pub struct Molmo {
    vision: Tower,
    language: Decoder,
}

impl Network for Molmo {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        // Names of checkpoints, then those of conversions to MLX.
        let vision = root.find(&["model.vision_backbone", "vision_tower"], "pad_embed")?;
        let text = root.find(&["model.transformer", "language_model.model"], "ln_f.weight")?;
        let rules = Rules::read(&files.preprocessor()?)?;
        Ok(Self {
            vision: Tower::load(&vision, &VisionConfig::read(&config)?, rules)?,
            language: Decoder::load(&text, &TextConfig::read(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let [columns, rows, width, height] = layout else {
            return Err(Error::new(format_args!(
                "a layout of {layout:?}, expected columns, rows, width, height"
            )));
        };
        let features =
            self.vision
                .forward(&pixels[0], Grid::new(*columns, *rows), Size::new(*width, *height))?;
        Ok(vec![features])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.add_features(&self.language.embed(&batch.ids()), 0);
        Ok(self.language.forward(x, batch))
    }
}
