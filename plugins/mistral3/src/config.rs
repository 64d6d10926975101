//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::VisionConfig;

/// What patches and features measure.
pub struct Geometry {
    pub vision: VisionConfig,
    /// Squares of so many patches a side become one feature.
    pub merge: u32,
}

impl Geometry {
    /// From `config.json`; what it leaves out is as in transformers' `Mistral3Config` (`LlavaConfig` has no merger).
    pub fn read(config: &Section) -> Result<Self> {
        let mistral = config.get_or("model_type", String::new())? == "mistral3";
        let merge = config.get_or("spatial_merge_size", if mistral { 2 } else { 1 })?;
        ensure!(merge > 0, "`spatial_merge_size` in `config.json` must not be 0");
        Ok(Self {
            vision: vision_config(config)?,
            merge,
        })
    }
}

/// The vision tower; what `vision_config` leaves out is as in transformers' `PixtralVisionConfig`.
fn vision_config(config: &Section) -> Result<VisionConfig> {
    VisionConfig::clip(config.section("vision_config")?.with_defaults([
        ("hidden_size", 1024.into()),
        ("num_hidden_layers", 24.into()),
        ("num_attention_heads", 16.into()),
        ("image_size", 1024.into()),
        ("patch_size", 16.into()),
        ("hidden_act", "gelu".into()),
    ]))
}

/// `text_config`; what it leaves out is as in transformers' `MistralConfig` or `Ministral3Config`.
pub fn text_section(config: &Section) -> Result<Section> {
    let text = config.section("text_config")?;
    // Absent, Mistral's window is 4096 tokens; `null` means that there is none.
    let windowed = !text.is_null("sliding_window");
    let text = if text.get_or("model_type", "mistral".to_owned())? == "ministral3" {
        text.with_defaults([
            ("num_hidden_layers", 34.into()),
            ("head_dim", 128.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("max_position_embeddings", 262_144.into()),
        ])
    } else if windowed {
        text.with_defaults([("sliding_window", 4096.into())])
    } else {
        text
    };
    Ok(text.with_defaults([("num_key_value_heads", 8.into())]))
}

/// The decoder, from its section.
pub fn decoder_config(text: &Section) -> Result<LlamaConfig> {
    let mut llama = LlamaConfig::read(text)?;
    llama.windows = llama.read_windows(text, 0)?;
    Ok(llama)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LlamaConfig {
        decoder_config(&text_section(&Section::parse("config.json", text).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_classes() {
        // transformers 5.23: MistralConfig(), Ministral3Config(), PixtralVisionConfig(), Mistral3Config()
        let mistral = read("{}");
        assert_eq!(
            (mistral.num_hidden_layers, mistral.num_key_value_heads),
            (32, Some(8))
        );
        assert_eq!((mistral.head_dim(), mistral.rms_norm_eps), (128, 1e-6));
        assert_eq!(mistral.windows, [Some(4096); 32]);
        let ministral = read(r#"{"text_config": {"model_type": "ministral3", "hidden_size": 2048}}"#);
        assert_eq!((ministral.num_hidden_layers, ministral.head_dim()), (34, 128));
        assert_eq!(
            (ministral.rms_norm_eps, ministral.windows),
            (1e-5, vec![None; 34])
        );
        let config = Section::parse("config.json", r#"{"model_type": "mistral3"}"#).unwrap();
        let Geometry { vision, merge } = Geometry::read(&config).unwrap();
        assert_eq!(
            (vision.hidden_size, vision.num_hidden_layers, vision.patch_size),
            (1024, 24, 16)
        );
        assert_eq!((vision.hidden_act, merge), (Activation::Gelu, 2));
    }

    #[test]
    fn a_window_that_is_null_is_none() {
        let config = read(r#"{"text_config": {"num_hidden_layers": 2, "sliding_window": null}}"#);
        assert_eq!(config.windows, [None, None]);
    }
}
