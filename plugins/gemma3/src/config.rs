//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;

/// The decoder; what `text_config` leaves out is as in transformers' `Gemma3TextConfig`.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
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
    llama.hidden_act = text.get_or("hidden_activation", Activation::GeluTanh)?;
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
        assert_eq!(config.hidden_act, Activation::GeluTanh);
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
