//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Activation, Mlp};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

/// Vision tower, projector, decoder.
pub struct NanoLlava {
    vision: Siglip,
    projector: Mlp,
    language: Llama,
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
        let config = files.config()?;
        let vision = vision(&config)?;
        // Names of the original checkpoints, then those of conversions to MLX.
        let tower = weights::first_prefix(
            &[
                "model.vision_tower.vision_tower.vision_model",
                "vision_tower.vision_tower.vision_model",
            ],
            "embeddings.position_embedding.weight",
        )?;
        let (projector, text, head) = match weights::has("model.norm.weight") {
            true => (
                ["model.mm_projector.0", "model.mm_projector.2"],
                "model",
                "lm_head",
            ),
            false => (
                ["mm_projector.linear_1", "mm_projector.linear_2"],
                "language_model.model",
                "language_model.model.lm_head",
            ),
        };
        let language = match config.has("text_config") {
            true => config.section("text_config")?,
            false => config,
        };
        Ok(Self {
            vision: Siglip::load(tower, &vision, Positions::Fixed, Some(depth(tower, &vision)))?,
            projector: Mlp::load(projector[0], Activation::Gelu, projector[1]),
            language: Llama::load(text, head, &LlamaConfig::read(&language)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self
            .vision
            .forward(pixels.first().context("no pixels to encode")?)?;
        let [pictures, patches, hidden] = features.dimensions("features of the vision tower")?;
        Ok(vec![
            self.projector
                .forward(&features.reshape(&[pictures * patches, hidden])),
        ])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

/// How many blocks the tower has: its last one is never run, and checkpoints may leave it out while the config counts it.
fn depth(tower: &str, vision: &VisionConfig) -> u32 {
    let stored = |layer: &u32| weights::has(&format!("{tower}.encoder.layers.{layer}.layer_norm1.weight"));
    (0..vision.num_hidden_layers).take_while(stored).count() as u32
}
