//! The architecture.

use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{LayerNorm, Mlp};
use monocle_plugin::prelude::*;

use crate::config::Config;
use crate::vision::InternVit;

/// Vision tower, projector, decoder.
pub struct InternVl {
    vision: InternVit,
    shuffle: u32,
    norm: LayerNorm,
    projector: Mlp,
    language: Llama,
}

impl Network for InternVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = Config::read(&files.config()?)?;
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let (tower, projector, layers) = match config.original {
            true => ("vision_model", "mlp1", ["0", "1", "3"]),
            // Names of the published checkpoints, then those that newer releases of transformers write.
            false => (
                part(&["vision_tower", "model.vision_tower"], "embeddings.cls_token")?,
                part(
                    &["multi_modal_projector", "model.multi_modal_projector"],
                    "linear_1.weight",
                )?,
                ["layer_norm", "linear_1", "linear_2"],
            ),
        };
        // The third are those of some conversions to MLX.
        let texts = [
            "language_model.model",
            "model.language_model",
            "language_model.model.model",
        ];
        let text = part(&texts, "norm.weight")?;
        let head = match text {
            "language_model.model" => "language_model.lm_head",
            "model.language_model" => "lm_head",
            _ => "language_model.model.lm_head",
        };
        let [norm, first, second] = layers.map(|layer| format!("{projector}.{layer}"));
        Ok(Self {
            vision: InternVit::load(tower, &config)?,
            shuffle: config.shuffle,
            // PyTorch's default epsilon.
            norm: LayerNorm::load(&norm, 1e-5),
            projector: Mlp::load(&first, config.activation, &second),
            language: Llama::load(text, head, &LlamaConfig::read(&config.text)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self
            .vision
            .forward(pixels.first().context("no pixels to encode")?)?;
        let packed = nn::pixel_shuffle(&features, self.shuffle)?; // [tiles, features, shuffle² · hidden]
        let [tiles, features, channels] = packed.dimensions("the packed features")?;
        let packed = self.norm.forward(&packed.reshape(&[tiles * features, channels]));
        Ok(vec![self.projector.forward(&packed)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}
