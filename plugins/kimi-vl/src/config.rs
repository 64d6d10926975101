//! `config.json`; what it leaves out is as in the original's `MoonViTConfig` and `DeepseekV3Config`.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// Sizes of the vision tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub patch_size: u32,
    pub num_attention_heads: u32,
    pub num_hidden_layers: u32,
    /// Squares of so many patches, down and across, become one feature.
    pub merge_kernel_size: [u32; 2],
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            patch_size: 14,
            num_attention_heads: 16,
            num_hidden_layers: 27,
            merge_kernel_size: [2, 2],
        }
    }
}

impl VisionConfig {
    /// From `vision_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let read: Self = config.section("vision_config")?.read()?;
        let [down, across] = read.merge_kernel_size;
        ensure!(
            read.patch_size > 0 && read.num_attention_heads > 0 && down > 0,
            "`patch_size`, `num_attention_heads` and `merge_kernel_size` of `vision_config` must not be 0"
        );
        ensure!(
            down == across,
            "`merge_kernel_size` of `vision_config` is {down} by {across}; known are squares"
        );
        Ok(read)
    }
}

/// The decoder.
pub fn text_config(config: &Section) -> Result<Section> {
    Ok(config.section("text_config")?.with_defaults([
        ("num_hidden_layers", 61.into()),
        ("n_routed_experts", 256.into()),
        ("num_experts_per_tok", 8.into()),
        ("n_group", 8.into()),
        ("topk_group", 4.into()),
        ("first_k_dense_replace", 3.into()),
        ("norm_topk_prob", true.into()),
        ("routed_scaling_factor", 2.5.into()),
        ("scoring_func", "sigmoid".into()),
        ("kv_lora_rank", 512.into()),
        ("qk_nope_head_dim", 128.into()),
        ("qk_rope_head_dim", 64.into()),
        ("v_head_dim", 128.into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_in_the_original() {
        let config = Section::parse("config.json", "{}").unwrap();
        assert_eq!(VisionConfig::read(&config).unwrap(), VisionConfig::default());
        let oblong = r#"{"vision_config": {"merge_kernel_size": [2, 1]}}"#;
        let error = VisionConfig::read(&Section::parse("config.json", oblong).unwrap()).unwrap_err();
        assert!(error.to_string().contains("2 by 1"), "{error}");
    }
}
