//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;
use monocle_plugin::towers::VisionConfig;

/// All published models have CLIP-L for pictures of 336 pixels, and their configs name it instead of giving its sizes;
/// `tiny_clip` gives those of small models for tests.
pub fn vision_config(config: &Section) -> Result<VisionConfig> {
    let sizes = config.section("img_processor")?.section("tiny_clip")?;
    VisionConfig::clip(sizes.with_defaults([
        ("hidden_size", 1024.into()),
        ("num_hidden_layers", 24.into()),
        ("num_attention_heads", 16.into()),
        ("image_size", 336.into()),
        ("patch_size", 14.into()),
    ]))
}

/// The decoder; what `config.json` leaves out is as in the model's own config class.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.clone().with_defaults([
        ("hidden_size", 3072.into()),
        ("num_hidden_layers", 32.into()),
        ("num_attention_heads", 32.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("max_position_embeddings", 131_072.into()),
        ("original_max_position_embeddings", 4096.into()),
    ]);
    let mut llama = LlamaConfig::read(&text)?;
    if text.section("rope_scaling")?.has("long_factor") {
        llama.long_rope = Some(RopeConfig::read(&text, true)?);
    }
    Ok(llama)
}
