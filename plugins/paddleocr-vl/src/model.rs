//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::VisionConfig;

use crate::tower::Tower;

/// Vision tower, projector, decoder.
pub struct PaddleOcrVl {
    vision: Tower,
    /// Squares of so many patches a side become one feature.
    by: u32,
    norm: Norm,
    projector: Mlp,
    language: Decoder,
}

impl Network for PaddleOcrVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = config.section("vision_config")?;
        let by = vision.get_or("spatial_merge_size", 2)?;
        ensure!(by > 0, "`spatial_merge_size` of `vision_config` must not be 0");
        // As in transformers' `PaddleOCRVisionConfig`.
        let vision = VisionConfig::siglip(vision.with_defaults([
            ("hidden_size", 1152.into()),
            ("num_hidden_layers", 27.into()),
            ("num_attention_heads", 16.into()),
            ("image_size", 384.into()),
            ("patch_size", 14.into()),
        ]))?;
        // Names of published checkpoints, of newer ones, and of conversions to MLX.
        let towers = ["visual.vision_model", "model.visual.vision_model", "visual"];
        let tower = root.find(&towers, "post_layernorm.weight")?;
        let projectors = ["mlp_AR", "model.projector", "visual.projector"];
        let projector = root.find(&projectors, "pre_norm.weight")?;
        let texts = ["model", "model.language_model", "language_model.model"];
        let text = root.find(&texts, "norm.weight")?;
        Ok(Self {
            vision: Tower::load(&tower, &vision)?,
            by,
            norm: projector.norm("pre_norm", 1e-5),
            projector: Mlp::load(&projector, Activation::Gelu),
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let patches = self.norm.forward(&self.vision.forward(&pixels[0])?);
        let squares = nn::pixel_shuffle(&patches, self.by)?; // [1, squares, square · channels]
        Ok(vec![self.projector.forward(&squares.flatten(0, 1))])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}

/// The decoder, whose keys published checkpoints have beside `vision_config`; what is left out is as in transformers' `Ernie4_5Config`.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = match config.has("text_config") {
        true => config.section("text_config")?,
        false => config.clone(),
    };
    LlamaConfig::read(&text.with_defaults([
        ("hidden_size", 1024.into()),
        ("num_hidden_layers", 18.into()),
        ("num_attention_heads", 16.into()),
        ("num_key_value_heads", 2.into()),
        ("head_dim", 128.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("rope_theta", 500_000.0.into()),
    ]))
}
