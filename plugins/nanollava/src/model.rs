//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

/// Vision tower, projector, decoder.
pub struct NanoLlava {
    vision: Siglip,
    projector: Mlp,
    language: Decoder,
}

/// Sizes of the vision tower; what `config.json` leaves out is as in SigLIP so400m at 384 pixels, the only one in use.
pub fn vision(config: &Section) -> Result<VisionConfig> {
    VisionConfig::siglip(config.section("vision_config")?.with_defaults([
        ("hidden_size", 1152.into()),
        ("num_hidden_layers", 27.into()),
        ("num_attention_heads", 16.into()),
        ("image_size", 384.into()),
        ("patch_size", 14.into()),
    ]))
}

impl Network for NanoLlava {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = vision(&config)?;
        // Names of the original checkpoints, then those of conversions to MLX.
        let tower = [
            "model.vision_tower.vision_tower.vision_model",
            "vision_tower.vision_tower.vision_model",
        ];
        let tower = root.find(&tower, "embeddings.position_embedding.weight")?;
        let text = root.find(&["model", "language_model.model"], "norm.weight")?;
        let language = match config.has("text_config") {
            true => config.section("text_config")?,
            false => config,
        };
        // The tower's last block is never run, and checkpoints may leave it out while the config counts it.
        let stored = |layer: &u32| tower.has(&format!("encoder.layers.{layer}.layer_norm1.weight"));
        let depth = (0..vision.num_hidden_layers).take_while(stored).count() as u32;
        Ok(Self {
            vision: Siglip::load(&tower, &vision, Positions::Fixed, Some(depth))?,
            projector: Mlp::load(
                &root.pick(&["model.mm_projector", "mm_projector"]),
                Activation::Gelu,
            ),
            language: Decoder::load(&text, &LlamaConfig::read(&language)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0])?; // [1, patches, hidden]
        Ok(vec![self.projector.forward(&features.flatten(0, 1))])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
