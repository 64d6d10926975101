//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip};

use crate::config::{text_config, vision_config};

/// Vision tower, projector, decoder. The original scales features by 1 / √hidden, then all rows by √hidden; here token embeddings alone are
/// scaled.
pub struct PaliGemma {
    vision: Siglip,
    projection: Linear,
    language: Decoder,
}

impl Network for PaliGemma {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        // Names of checkpoints and of conversions to MLX, then those inside transformers.
        let tower = ["vision_tower.vision_model", "model.vision_tower.vision_model"];
        let tower = root.find(&tower, "post_layernorm.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let text = root.find(&["language_model.model", "model.language_model"], "norm.weight")?;
        Ok(Self {
            vision: Siglip::load(&tower, &vision_config(&config)?, Positions::Fixed, None)?,
            projection: root.find(&projector, "linear.weight")?.linear("linear"),
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.projection.forward(&self.vision.forward(&pixels[0])?); // [1, patches, hidden]
        Ok(vec![features.flatten(0, 1)])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
