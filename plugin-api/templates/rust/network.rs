//! The forward pass.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

/// The model's parts.
pub struct Model {
    vision: Siglip,
    packed: u32,
    projection: Linear,
    language: Decoder,
}

impl Network for Model {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, model) = (files.config()?, Weights::root().at("model"));
        let vision = VisionConfig::siglip(config.section("vision_config")?)?;
        let language = LlamaConfig::read(&config.section("text_config")?)?;
        Ok(Self {
            vision: Siglip::load(&model.at("vision_model"), &vision, Positions::Fractional, None)?,
            packed: config.get("scale_factor")?,
            projection: model.linear("connector.modality_projection.proj"),
            language: Decoder::load(&model.at("text_model"), &language)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let patches = self.vision.forward(&pixels[0])?; // [tiles, patches, hidden]
        let packed = nn::pixel_shuffle(&patches, self.packed)?; // [tiles, features, packed² · hidden]
        Ok(vec![self.projection.forward(&packed.flatten(0, 1))])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
