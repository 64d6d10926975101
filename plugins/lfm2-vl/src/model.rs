//! The architecture.

use monocle_plugin::concat;
use monocle_plugin::nn::{Activation, LayerNorm, Mlp};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Siglip2, VisionConfig};

use crate::decoder::{Lfm2, Lfm2Config};

/// Vision tower, projector, decoder.
pub struct Lfm2Vl {
    vision: Siglip2,
    shuffle: u32,
    norm: Option<LayerNorm>,
    projector: Mlp,
    language: Lfm2,
}

impl Network for Lfm2Vl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let vision = VisionConfig::siglip(config.section("vision_config")?)?;
        // Names of the published checkpoints, those that newer releases of transformers write, those of conversions to MLX.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = part(
            &[
                "model.vision_tower.vision_model",
                "model.vision_tower",
                "vision_tower",
            ],
            "embeddings.position_embedding.weight",
        )?;
        let projector = part(
            &["model.multi_modal_projector", "multi_modal_projector"],
            "linear_1.weight",
        )?;
        let text = part(
            &["model.language_model", "language_model.model"],
            "embedding_norm.weight",
        )?;
        let head = match text {
            "model.language_model" => "lm_head",
            _ => "language_model.lm_head",
        };
        let normed = config.get_or("projector_use_layernorm", true)?;
        Ok(Self {
            vision: Siglip2::load(tower, &vision),
            shuffle: config.get_or("downsample_factor", 2)?,
            // PyTorch's default epsilon.
            norm: normed.then(|| LayerNorm::load(&format!("{projector}.layer_norm"), 1e-5)),
            projector: Mlp::load(
                &format!("{projector}.linear_1"),
                config.get_or("projector_hidden_act", Activation::Gelu)?,
                &format!("{projector}.linear_2"),
            ),
            language: Lfm2::load(text, head, &Lfm2Config::read(&config.section("text_config")?)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features: Vec<Tensor> = pixels
            .iter()
            .map(|views| self.views(views))
            .collect::<Result<_>>()?;
        let features: Vec<&Tensor> = features.iter().collect();
        Ok(vec![concat(&features, 0)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

impl Lfm2Vl {
    /// Pixels `[n, height, width, 3]` to features `[features, hidden]`.
    fn views(&self, pixels: &Tensor) -> Result<Tensor> {
        let packed = nn::pixel_shuffle_grid(&self.vision.forward(pixels)?, self.shuffle)?;
        let [n, features, channels] = packed.dimensions("the packed features")?;
        let mut packed = packed.reshape(&[n * features, channels]);
        if let Some(norm) = &self.norm {
            packed = norm.forward(&packed);
        }
        Ok(self.projector.forward(&packed))
    }
}
