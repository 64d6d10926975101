//! The architecture.

use monocle_plugin::decoders::Step;
use monocle_plugin::prelude::*;

use crate::config::{VisionConfig, text_config};
use crate::vision::Vision;

/// Vision tower with its merger, decoder.
pub struct QwenVl {
    vision: Vision,
    language: Decoder,
}

impl Network for QwenVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        // Names of the original checkpoints, of newer ones, and of conversions to MLX.
        let tower = root.find(
            &["visual", "model.visual", "vision_tower"],
            "patch_embed.proj.weight",
        )?;
        let text = ["model.language_model", "language_model.model", "model"];
        let text = root.find(&text, "norm.weight")?;
        Ok(Self {
            vision: Vision::load(&tower, &VisionConfig::read(&config)?)?,
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        self.vision.forward(&pixels[0])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        let deep = self.vision.deep_layers();
        let x = self
            .language
            .forward_with(x, &Step::new(batch), |layer, x| match layer < deep {
                true => batch.add_features(&x, layer as u32 + 1),
                false => x,
            });
        Ok(self.language.logits(&x, batch))
    }
}
