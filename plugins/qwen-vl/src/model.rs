//! The architecture.

use monocle_plugin::Pairing;
use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::prelude::*;

use crate::vision::Vision;

/// Vision tower with its merger, decoder.
pub struct QwenVl {
    vision: Vision,
    language: Llama,
}

/// Whether it is one of the GLM models.
pub fn is_glm(config: &Section) -> Result<bool> {
    Ok(config.get_or("model_type", String::new())?.starts_with("glm"))
}

impl Network for QwenVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        // Names of the original checkpoints, of newer ones, and of conversions to MLX.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = part(
            &["visual", "model.visual", "vision_tower"],
            "patch_embed.proj.weight",
        )?;
        let decoder = part(
            &["model.language_model", "language_model.model", "model"],
            "norm.weight",
        )?;
        let head = if decoder == "language_model.model" {
            "language_model.lm_head"
        } else {
            "lm_head"
        };
        Ok(Self {
            vision: Vision::load(tower, &config)?,
            language: Llama::load(decoder, head, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        self.vision
            .forward(pixels.first().context("no pixels to encode")?)
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        let deep = self.vision.deep_layers();
        let x = self
            .language
            .forward_with(x, batch, |layer, x| match layer < deep {
                true => batch.add_features(&x, layer as u32 + 1),
                false => x,
            });
        Ok(self.language.logits(&x, batch))
    }
}

/// The decoder; what the text config leaves out is as in transformers' `Qwen2VLTextConfig`, `Qwen2_5_VLTextConfig`,
/// `Qwen3VLTextConfig` or `Glm4vTextConfig`. The first releases have the decoder's keys beside `vision_config`.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = match config.has("text_config") {
        true => config.section("text_config")?,
        false => config.clone(),
    };
    let model_type = config.get_or("model_type", String::new())?;
    let text = match model_type.as_str() {
        "qwen3_vl" => text.with_defaults([("head_dim", 128.into()), ("rope_theta", 500_000.0.into())]),
        "glm4v" => text.with_defaults([
            ("num_hidden_layers", 40.into()),
            ("num_key_value_heads", 2.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("partial_rotary_factor", 0.5.into()),
        ]),
        _ => text.with_defaults([
            ("hidden_size", 8192.into()),
            ("num_hidden_layers", 80.into()),
            ("num_attention_heads", 64.into()),
            ("num_key_value_heads", 8.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("rope_theta", 1_000_000.0.into()),
        ]),
    };
    let mut llama = LlamaConfig::read(&text)?;
    if text.get_or("use_sliding_window", false)? {
        let window: Option<u32> = text.find("sliding_window")?;
        let first = text.get_or("max_window_layers", 80)?;
        let layers = 0..llama.num_hidden_layers;
        llama.windows = layers.map(|layer| window.filter(|_| layer >= first)).collect();
    }
    if is_glm(config)? {
        llama.rope.pairing = Pairing::Neighbours;
    }
    Ok(llama)
}
