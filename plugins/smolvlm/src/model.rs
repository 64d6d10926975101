//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip};

use crate::config::Geometry;

/// Vision tower, connector, decoder.
pub struct SmolVlm {
    vision: Siglip,
    shuffle: u32,
    projection: Linear,
    language: Decoder,
}

impl Network for SmolVlm {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let Geometry { vision, shuffle } = Geometry::read(&config)?;
        // Names of the original checkpoints, then those of conversions to MLX.
        let tower = root.find(&["model.vision_model", "vision_model"], "post_layernorm.weight")?;
        let projection = "modality_projection.proj";
        let connector = root.find(&["model.connector", "connector"], &format!("{projection}.weight"))?;
        let text = ["model.text_model", "language_model", "language_model.model"];
        let text = root.find(&text, "norm.weight")?;
        Ok(Self {
            vision: Siglip::load(&tower, &vision, Positions::Fractional, None)?,
            shuffle,
            projection: connector.linear(projection),
            language: Decoder::load(&text, &LlamaConfig::read(&config.section("text_config")?)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0])?; // [tiles, patches, hidden]
        let packed = nn::pixel_shuffle(&features, self.shuffle)?; // [tiles, tokens, shuffle² · hidden]
        Ok(vec![self.projection.forward(&packed.flatten(0, 1))])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
