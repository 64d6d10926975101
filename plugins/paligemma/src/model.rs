//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Activation, Linear};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

/// Vision tower, projector, decoder.
pub struct PaliGemma {
    vision: Siglip,
    projection: Linear,
    language: Llama,
}

impl Network for PaliGemma {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        // What is left out is as in transformers' `PaliGemmaConfig`.
        let vision = config.section("vision_config")?.with_defaults([
            ("hidden_size", 1152.into()),
            ("num_hidden_layers", 27.into()),
            ("num_attention_heads", 16.into()),
            ("patch_size", 14.into()),
        ]);
        let vision = VisionConfig::siglip(vision)?;
        // Names of checkpoints and of conversions to MLX, then those inside transformers.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = ["vision_tower.vision_model", "model.vision_tower.vision_model"];
        let tower = part(&tower, "post_layernorm.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = part(&projector, "linear.weight")?;
        let text = part(&["language_model.model", "model.language_model"], "norm.weight")?;
        let head = if text == "language_model.model" {
            "language_model.lm_head"
        } else {
            "lm_head"
        };
        Ok(Self {
            vision: Siglip::load(tower, &vision, Positions::Fixed, None)?,
            projection: nn::linear(&format!("{projector}.linear")),
            language: Llama::load(text, head, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let features = self.projection.forward(&self.vision.forward(pixels)?); // [1, patches, hidden]
        let [n, patches, hidden] = features.dimensions("the picture's features")?;
        Ok(vec![features.reshape(&[n * patches, hidden])])
    }

    // The original scales features by 1 / √hidden, then all rows by √hidden; here token embeddings alone are scaled.
    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

/// The decoder: Gemma (PaliGemma) or Gemma 2 (PaliGemma 2), with what `text_config` leaves out as in their classes in
/// transformers.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?;
    let second = text.get_or("model_type", "gemma".to_owned())? == "gemma2";
    let text = text.with_defaults([("head_dim", 256.into()), ("num_attention_heads", 8.into())]);
    let text = if second {
        text.with_defaults([
            ("hidden_size", 2304.into()),
            ("num_hidden_layers", 26.into()),
            ("num_key_value_heads", 4.into()),
            ("query_pre_attn_scalar", 256.into()),
            ("attn_logit_softcapping", 50.into()),
            ("final_logit_softcapping", 30.into()),
            ("sliding_window", 4096.into()),
        ])
    } else {
        text.with_defaults([
            ("hidden_size", 2048.into()),
            ("num_hidden_layers", 18.into()),
            ("num_key_value_heads", 1.into()),
        ])
    };
    let mut llama = LlamaConfig::read(&text)?;
    let activation = if second { "hidden_activation" } else { "hidden_act" };
    llama.hidden_act = text.get_or(activation, Activation::GeluTanh)?;
    llama.norm_offset = 1.0;
    llama.embedding_scale = Some((llama.hidden_size as f32).sqrt());
    if second {
        llama.windows = llama.read_windows(&text, 2)?;
    }
    Ok(llama)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LlamaConfig {
        text_config(&Section::parse("config.json", text).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_classes() {
        // transformers 5.23: PaliGemmaConfig().text_config, Gemma2Config()
        let first = read("{}");
        assert_eq!((first.hidden_size, first.num_hidden_layers), (2048, 18));
        assert_eq!(
            (first.num_attention_heads, first.num_key_value_heads),
            (8, Some(1))
        );
        assert_eq!((first.head_dim(), first.attn_logit_softcapping), (256, None));
        assert!(first.windows.is_empty());
        let second = read(
            r#"{"text_config": {"model_type": "gemma2", "hidden_act": "gelu", "num_hidden_layers": 3}}"#,
        );
        assert_eq!((second.hidden_size, second.num_key_value_heads), (2304, Some(4)));
        assert_eq!(
            (second.attn_logit_softcapping, second.final_logit_softcapping),
            (Some(50.0), Some(30.0))
        );
        assert_eq!(second.windows, [Some(4096), None, Some(4096)]);
        assert_eq!(second.hidden_act, Activation::GeluTanh);
    }
}
