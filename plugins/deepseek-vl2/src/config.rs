//! `config.json`; what it leaves out is as in the original's config classes (`configuration_deepseek.py`, `modeling_deepseek_vl_v2.py`). Keys
//! that are not known are left alone.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// The decoder's part, which conversions name in another way.
pub fn text_config(config: &Section) -> Result<Section> {
    let name = match config.has("language_config") {
        true => "language_config",
        false => "text_config",
    };
    Ok(config.section(name)?.with_defaults([
        ("num_hidden_layers", 30.into()),
        ("kv_lora_rank", 512.into()),
        ("qk_nope_head_dim", 128.into()),
        ("qk_rope_head_dim", 64.into()),
        ("v_head_dim", 128.into()),
    ]))
}

/// Sizes of the vision tower.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub layers: u32,
    #[serde(alias = "num_attention_heads")]
    pub heads: u32,
    pub patch_size: u32,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            layers: 24,
            heads: 16,
            patch_size: 16,
        }
    }
}

impl VisionConfig {
    /// From `vision_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let read: Self = config.section("vision_config")?.read()?;
        ensure!(
            read.heads > 0 && read.patch_size > 0,
            "`heads` and `patch_size` of `vision_config` must not be 0"
        );
        Ok(read)
    }
}

/// Squares of so many patches a side become one feature. Fails where features are made in another way than in the published models.
pub fn downsampling(config: &Section) -> Result<u32> {
    let projector = config.section("projector_config")?;
    let kind = projector.get_or("projector_type", "downsample_mlp_gelu".to_owned())?;
    let depth: u32 = projector.get_or("depth", 2)?;
    ensure!(
        kind == "downsample_mlp_gelu" && depth == 2 && !projector.get_or("token_pooling", false)?,
        "`projector_config` asks for `{kind}` of {depth} layers; known is `downsample_mlp_gelu` of 2 layers, without `token_pooling`"
    );
    let tags = config.get_or("tile_tag", "2D".to_owned())?;
    ensure!(tags == "2D", "`tile_tag` is `{tags}`; known is `2D`");
    let by = projector.get_or("downsample_ratio", 2)?;
    ensure!(by > 0, "`downsample_ratio` of `projector_config` must not be 0");
    Ok(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::parse("config.json", text).unwrap()
    }

    #[test]
    fn what_is_not_known_is_refused_and_what_does_not_matter_is_left_alone() {
        let error = |text: &str| downsampling(&section(text)).unwrap_err().to_string();
        assert!(error(r#"{"projector_config": {"projector_type": "linear"}}"#).contains("`linear`"));
        assert!(error(r#"{"projector_config": {"depth": 3}}"#).contains("of 3 layers"));
        assert!(error(r#"{"tile_tag": "1D"}"#).contains("`1D`"));
        // The key that other runners stumbled over, and one that nobody knows.
        let config = section(r#"{"candidate_resolutions": [[384, 384]], "tile_tag": "2D", "surprise": 1}"#);
        assert_eq!(downsampling(&config).unwrap(), 2);
    }

    #[test]
    fn the_decoder_s_part_has_two_names() {
        for name in ["language_config", "text_config"] {
            let config = section(&format!(
                r#"{{"{name}": {{"hidden_size": 1280, "kv_lora_rank": null}}}}"#
            ));
            let text = text_config(&config).unwrap();
            assert_eq!(text.get::<u32>("hidden_size").unwrap(), 1280);
            assert_eq!(text.get::<u32>("kv_lora_rank").unwrap(), 512);
        }
    }
}
