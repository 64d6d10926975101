//! `config.json`; what it leaves out is as in transformers' `PaliGemmaConfig`.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::VisionConfig;

/// The vision tower.
pub fn vision_config(config: &Section) -> Result<VisionConfig> {
    VisionConfig::siglip(config.section("vision_config")?.with_defaults([
        ("hidden_size", 1152.into()),
        ("num_hidden_layers", 27.into()),
        ("num_attention_heads", 16.into()),
        ("patch_size", 14.into()),
    ]))
}

/// The decoder: Gemma (PaliGemma) or Gemma 2 (PaliGemma 2), with what `text_config` leaves out as in their classes in
/// transformers.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
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
