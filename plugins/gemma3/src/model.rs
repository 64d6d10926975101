//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};
use monocle_plugin::{Pooling, Window};

use crate::config::text_config;

/// Vision tower, pooling projector, decoder.
pub struct Gemma3 {
    vision: Siglip,
    /// Features along a side of a picture.
    side: u32,
    norm: Norm,
    projection: Parameter,
    language: Decoder,
}

impl Network for Gemma3 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = VisionConfig::siglip(config.section("vision_config")?)?;
        let features: u32 = config.get_or("mm_tokens_per_image", 256)?;
        // Names of checkpoints and of conversions to MLX, then those inside transformers.
        let tower = ["vision_tower.vision_model", "model.vision_tower.vision_model"];
        let tower = root.find(&tower, "post_layernorm.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = root.find(&projector, "mm_soft_emb_norm.weight")?;
        let text = root.find(&["language_model.model", "model.language_model"], "norm.weight")?;
        let norm = Norm::rms(&projector.at("mm_soft_emb_norm"), vision.layer_norm_eps);
        Ok(Self {
            vision: Siglip::load(&tower, &vision, Positions::Fixed, None)?,
            side: features.isqrt(),
            norm: norm.with_offset(1.0),
            projection: projector.parameter("mm_input_projection_weight"),
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0])?; // [1, patches, hidden]
        let [n, patches, hidden] = features.dimensions("the vision features")?;
        let (patches, side) = (patches.isqrt(), self.side);
        ensure!(
            (1..=patches).contains(&side),
            "{patches} patches a side cannot be pooled to `mm_tokens_per_image` {}",
            side.pow(2)
        );
        let by = patches / side;
        let window = Window {
            size: (by, by),
            stride: (by, by),
            padding: (0, 0),
        };
        let squares = features.reshape(&[n, patches, patches, hidden]);
        let pooled = squares.pool2d(Pooling::Average, window).flatten(0, 2); // [features, hidden]
        Ok(vec![
            self.norm.forward(&pooled).matmul(&self.projection.value(), false),
        ])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
