//! `config.json`.

use monocle_plugin::Pairing;
use monocle_plugin::prelude::*;

/// Whether it is one of the GLM models.
pub fn is_glm(config: &Section) -> Result<bool> {
    Ok(config.get_or("model_type", String::new())?.starts_with("glm"))
}

/// Sizes of the vision tower.
pub struct VisionConfig {
    pub depth: u32,
    pub heads: u32,
    pub patch: u32,
    /// Squares of so many patches a side become one feature.
    pub merge: u32,
    pub activation: Activation,
    pub epsilon: f32,
    /// After which blocks further features are taken (DeepStack, arXiv:2406.04334).
    pub deep: Vec<u32>,
    /// Windows of so many merged squares a side, and the blocks that see the whole picture all the same (Qwen2.5-VL).
    pub windows: Option<(u32, Vec<u32>)>,
}

impl VisionConfig {
    /// What the file leaves out is as in transformers' vision config classes.
    pub fn read(config: &Section) -> Result<Self> {
        let model_type = config.get_or("model_type", String::new())?;
        let vision = config.section("vision_config")?;
        let (depth, heads, patch, activation, epsilon) = match model_type.as_str() {
            "qwen3_vl" => (27, 16, 16, Activation::GeluTanh, 1e-6),
            "glm4v" => (24, 12, 14, Activation::Silu, 1e-5),
            "qwen2_5_vl" => (32, 16, 14, Activation::Silu, 1e-6),
            _ => (32, 16, 14, Activation::QuickGelu, 1e-6),
        };
        let (patch, merge) = (
            vision.get_or("patch_size", patch)?,
            vision.get_or("spatial_merge_size", 2)?,
        );
        let heads = vision.get_or("num_heads", heads)?;
        ensure!(
            heads > 0 && patch > 0 && merge > 0,
            "`num_heads`, `patch_size` and `spatial_merge_size` of `vision_config` must not be 0"
        );
        let window = vision.get_or("window_size", 112)?;
        let whole = vision.get_or("fullatt_block_indexes", vec![7, 15, 23, 31])?;
        Ok(Self {
            depth: vision.get_or("depth", depth)?,
            heads,
            patch,
            merge,
            activation: vision.get_or("hidden_act", activation)?,
            epsilon: vision.get_or("rms_norm_eps", epsilon)?,
            deep: vision.get_or("deepstack_visual_indexes", vec![8, 16, 24])?,
            windows: (model_type == "qwen2_5_vl").then(|| ((window / merge / patch).max(1), whole)),
        })
    }
}

/// The decoder; what the text config leaves out is as in transformers' `Qwen2VLTextConfig`, `Qwen2_5_VLTextConfig`,
/// `Qwen3VLTextConfig` or `Glm4vTextConfig`. The first releases have the decoder's keys beside `vision_config`.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
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
