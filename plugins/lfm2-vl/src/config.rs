//! `config.json`.

use monocle_plugin::prelude::*;

/// The decoder; what `text_config` leaves out is as in transformers' `Lfm2Config`.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?.with_defaults([
        ("hidden_size", 2560.into()),
        ("num_hidden_layers", 32.into()),
        ("num_attention_heads", 32.into()),
        ("num_key_value_heads", 8.into()),
        ("rope_theta", 1e6.into()),
    ]);
    let mut config = LlamaConfig::read(&text)?;
    config.rms_norm_eps = text.get_or("norm_eps", 1e-5)?;
    Ok(config)
}
