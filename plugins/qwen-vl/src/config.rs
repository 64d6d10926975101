//! `config.json`.

use monocle_plugin::Pairing;
use monocle_plugin::nn::MixtureConfig;
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
            "qwen3_vl" | "qwen3_vl_moe" => (27, 16, 16, Activation::GeluTanh, 1e-6),
            "glm_ocr" => (24, 16, 14, Activation::Silu, 1e-5),
            "glm4v" | "glm4v_moe" => (24, 12, 14, Activation::Silu, 1e-5),
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

/// The decoder.
pub struct TextConfig {
    pub llama: LlamaConfig,
    pub experts: Option<Experts>,
}

/// Layers of experts.
pub struct Experts {
    pub mixture: MixtureConfig,
    /// How many layers at the beginning are dense.
    first: u32,
    /// Of so many layers, the last has experts.
    every: u32,
    /// Further dense layers.
    dense: Vec<u32>,
}

impl Experts {
    /// Whether the layer of this number has them.
    pub fn has(&self, layer: u32) -> bool {
        layer >= self.first && (layer + 1).is_multiple_of(self.every) && !self.dense.contains(&layer)
    }

    fn read(text: &Section, sigmoid: bool) -> Result<Self> {
        let read = Self {
            mixture: MixtureConfig::read(text)?,
            first: text.get_or("first_k_dense_replace", u32::from(sigmoid))?,
            every: text.get_or("decoder_sparse_step", 1)?,
            dense: text.get_or("mlp_only_layers", vec![])?,
        };
        ensure!(
            read.every > 0,
            "`decoder_sparse_step` of the text config must not be 0"
        );
        Ok(read)
    }
}

/// What the text config leaves out is as in transformers' `Qwen2VLTextConfig`, `Qwen2_5_VLTextConfig`, `Qwen3VLTextConfig`,
/// `Qwen3VLMoeTextConfig`, `Glm4vTextConfig`, `Glm4vMoeTextConfig` or `GlmOcrTextConfig`. The first releases have the decoder's keys beside `vision_config`.
pub fn text_config(config: &Section) -> Result<TextConfig> {
    let text = match config.has("text_config") {
        true => config.section("text_config")?,
        false => config.clone(),
    };
    let text = MixtureConfig::keys(text);
    let model_type = config.get_or("model_type", String::new())?;
    let text = match model_type.as_str() {
        "qwen3_vl" => text.with_defaults([("head_dim", 128.into()), ("rope_theta", 500_000.0.into())]),
        "glm4v" => text.with_defaults([
            ("num_hidden_layers", 40.into()),
            ("num_key_value_heads", 2.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("partial_rotary_factor", 0.5.into()),
        ]),
        "qwen3_vl_moe" => text.with_defaults([
            ("hidden_size", 2048.into()),
            ("num_hidden_layers", 24.into()),
            ("num_attention_heads", 16.into()),
            ("rope_theta", 500_000.0.into()),
            ("n_routed_experts", 60.into()),
            ("num_experts_per_tok", 4.into()),
            // Whatever the file says.
            ("norm_topk_prob", true.into()),
        ]),
        "glm_ocr" => text.with_defaults([
            ("hidden_size", 1024.into()),
            ("num_hidden_layers", 16.into()),
            ("num_attention_heads", 16.into()),
            ("num_key_value_heads", 8.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("partial_rotary_factor", 0.5.into()),
        ]),
        "glm4v_moe" => text.with_defaults([
            ("num_hidden_layers", 46.into()),
            ("num_attention_heads", 96.into()),
            ("num_key_value_heads", 8.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("partial_rotary_factor", 0.5.into()),
            ("n_routed_experts", 128.into()),
            ("num_experts_per_tok", 8.into()),
            ("norm_topk_prob", true.into()),
            ("scoring_func", "sigmoid".into()),
            ("n_group", 1.into()),
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
    if is_glm(config)? && model_type != "glm4v_moe" {
        llama.rope.pairing = Pairing::Neighbours;
    }
    let experts = model_type.ends_with("_moe");
    let experts = experts.then(|| Experts::read(&text, model_type == "glm4v_moe"));
    Ok(TextConfig {
        llama,
        experts: experts.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TextConfig {
        text_config(&Section::parse("config.json", text).unwrap()).unwrap()
    }

    #[test]
    fn which_layers_have_experts() {
        // transformers 5.23: Glm4vMoeTextConfig() and Qwen3VLMoeTextConfig().
        let layers = |config: &str| -> Vec<u32> {
            let experts = read(config).experts.unwrap();
            (0..6).filter(|layer| experts.has(*layer)).collect()
        };
        assert_eq!(layers(r#"{"model_type": "glm4v_moe"}"#), [1, 2, 3, 4, 5]);
        assert_eq!(layers(r#"{"model_type": "qwen3_vl_moe"}"#), [0, 1, 2, 3, 4, 5]);
        let some = r#"{"model_type": "qwen3_vl_moe", "text_config": {"decoder_sparse_step": 2, "mlp_only_layers": [3]}}"#;
        assert_eq!(layers(some), [1, 5]);
        assert!(read(r#"{"model_type": "qwen3_vl"}"#).experts.is_none());
    }

    #[test]
    fn experts_are_counted_whatever_the_file_calls_them() {
        let count = |config: &str| read(config).experts.unwrap().mixture.n_routed_experts;
        // As published, and as transformers 5.23 saves it.
        for key in ["num_experts", "num_local_experts"] {
            let config = format!(r#"{{"model_type": "qwen3_vl_moe", "text_config": {{"{key}": 128}}}}"#);
            assert_eq!(count(&config), 128, "{key}");
        }
        // GLM-4.5V's files may have both.
        let both =
            r#"{"model_type": "glm4v_moe", "text_config": {"n_routed_experts": 8, "num_local_experts": 8}}"#;
        assert_eq!(count(both), 8);
    }

    #[test]
    fn pairs_turn_as_each_model_stores_them() {
        let pairing = |kind: &str| read(&format!(r#"{{"model_type": "{kind}"}}"#)).llama.rope.pairing;
        assert_eq!(pairing("glm4v"), Pairing::Neighbours);
        assert_eq!(pairing("glm_ocr"), Pairing::Neighbours);
        assert_eq!(pairing("glm4v_moe"), Pairing::Halves);
    }
}
