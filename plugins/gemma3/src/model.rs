//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Parameter, RmsNorm};
use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};
use monocle_plugin::{Pooling, Window};

/// Vision tower, pooling projector, decoder.
pub struct Gemma3 {
    vision: Siglip,
    /// Features along a side of a picture.
    side: u32,
    norm: RmsNorm,
    projection: Parameter,
    language: Llama,
}

impl Network for Gemma3 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let vision = VisionConfig::siglip(config.section("vision_config")?)?;
        let features: u32 = config.get_or("mm_tokens_per_image", 256)?;
        // Names of checkpoints and of conversions to MLX, then those inside transformers.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = ["vision_tower.vision_model", "model.vision_tower.vision_model"];
        let tower = part(&tower, "post_layernorm.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = part(&projector, "mm_soft_emb_norm.weight")?;
        let text = part(&["language_model.model", "model.language_model"], "norm.weight")?;
        let head = if text == "language_model.model" {
            "language_model.lm_head"
        } else {
            "lm_head"
        };
        Ok(Self {
            vision: Siglip::load(tower, &vision, Positions::Fixed, None)?,
            side: features.isqrt(),
            norm: RmsNorm::load_with_offset(
                &format!("{projector}.mm_soft_emb_norm"),
                vision.layer_norm_eps,
                1.0,
            ),
            projection: nn::parameter(&format!("{projector}.mm_input_projection_weight")),
            language: Llama::load(text, head, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let features = self.vision.forward(pixels)?; // [1, patches, hidden]
        let [n, patches, hidden] = features.dimensions("the vision features")?;
        let patches = patches.isqrt();
        let pooled = (self.side > 0).then(|| patches / self.side).filter(|&by| by > 0);
        let by = pooled.context(format_args!(
            "{patches} patches a side cannot be pooled to `mm_tokens_per_image` {}",
            self.side.pow(2)
        ))?;
        let window = Window {
            size: (by, by),
            stride: (by, by),
            padding: (0, 0),
        };
        let pooled = features
            .reshape(&[n, patches, patches, hidden])
            .pool2d(Pooling::Average, window); // [n, side, side, hidden]
        let rows = n * (patches / by).pow(2);
        let normed = self.norm.forward(&pooled.reshape(&[rows, hidden]));
        Ok(vec![normed.matmul(&self.projection.value(), false)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

/// The decoder; what `text_config` leaves out is as in transformers' `Gemma3TextConfig`.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?.with_defaults([
        ("hidden_size", 2304.into()),
        ("num_hidden_layers", 26.into()),
        ("num_attention_heads", 8.into()),
        ("num_key_value_heads", 4.into()),
        ("head_dim", 256.into()),
        ("query_pre_attn_scalar", 256.into()),
        ("sliding_window", 4096.into()),
        ("rope_theta", 1e6.into()),
    ]);
    let mut llama = LlamaConfig::read(&text)?;
    llama.hidden_act = text.get_or("hidden_activation", nn::Activation::GeluTanh)?;
    llama.norm_offset = 1.0;
    llama.embedding_scale = Some((llama.hidden_size as f32).sqrt());
    llama.windows = llama.read_windows(&text, 6)?;
    // Newer configs have parameters for each type of layer, older ones a second base.
    let parameters = text.section("rope_parameters")?;
    if parameters.has("full_attention") {
        llama.rope = RopeConfig::read_parameters(&parameters.section("full_attention")?, &text, false)?;
    }
    let local = parameters.section("sliding_attention")?;
    let base = text.get_or("rope_local_base_freq", 10_000.0)?;
    let local = local.with_defaults([("rope_theta", base.into())]);
    llama.window_rope = Some(RopeConfig::read_parameters(&local, &text, false)?);
    Ok(llama)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LlamaConfig {
        text_config(&Section::parse("config.json", text).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: Gemma3TextConfig()
        let config = read("{}");
        assert_eq!(
            (
                config.hidden_size,
                config.num_hidden_layers,
                config.num_attention_heads
            ),
            (2304, 26, 8)
        );
        assert_eq!((config.num_key_value_heads, config.head_dim()), (Some(4), 256));
        assert_eq!(config.query_pre_attn_scalar, Some(256.0));
        assert_eq!(config.hidden_act, nn::Activation::GeluTanh);
        assert_eq!(
            (config.rope, config.window_rope),
            (RopeConfig::plain(1e6), Some(RopeConfig::plain(1e4)))
        );
        let full: Vec<usize> = (0..26).filter(|&layer| config.windows[layer].is_none()).collect();
        assert_eq!(full, [5, 11, 17, 23]);
        assert_eq!(config.windows[0], Some(4096));
    }

    #[test]
    fn newer_configs_say_the_same_in_another_way() {
        let older = read(
            r#"{"text_config": {"num_hidden_layers": 3, "sliding_window": 8, "sliding_window_pattern": 2,
                "rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}}"#,
        );
        let newer = read(
            r#"{"text_config": {"num_hidden_layers": 3, "sliding_window": 8,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                "rope_parameters": {"full_attention": {"rope_theta": 5e5, "rope_type": "linear", "factor": 8.0},
                                    "sliding_attention": {"rope_theta": 2e4, "rope_type": "default"}}}}"#,
        );
        assert_eq!(older.windows, [Some(8), None, Some(8)]);
        assert_eq!(older.windows, newer.windows);
        assert_eq!((older.rope, older.window_rope), (newer.rope, newer.window_rope));
    }
}
