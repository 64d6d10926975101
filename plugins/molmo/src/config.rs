//! `config.json`. The published one has the decoder's keys alone; the tower's sizes are constants of the published code, which conversions
//! repeat in `vision_config`.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// The decoder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TextConfig {
    #[serde(alias = "d_model")]
    pub hidden_size: u32,
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: u32,
    #[serde(alias = "n_heads")]
    pub num_attention_heads: u32,
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f32,
    #[serde(default = "theta")]
    pub rope_theta: f64,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub image_num_heads: u32,
    pub image_norm_eps: f32,
    /// Which layers are pooled, counted from the last.
    pub vit_layers: Vec<i32>,
}

fn epsilon() -> f32 {
    1e-5
}

fn theta() -> f64 {
    10_000.0
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            image_num_heads: 16,
            image_norm_eps: 1e-5,
            vit_layers: vec![-2, -9],
        }
    }
}

impl TextConfig {
    /// From `text_config` where there is one, else beside all else.
    pub fn read(config: &Section) -> Result<Self> {
        let text = match config.has("text_config") {
            true => config.section("text_config")?,
            false => config.clone(),
        };
        let read: Self = text.read()?;
        let (hidden, heads) = (read.hidden_size, read.num_attention_heads);
        ensure!(
            heads > 0 && hidden.is_multiple_of(2 * heads),
            "{heads} heads do not divide `hidden_size` {hidden} into even parts"
        );
        Ok(read)
    }
}

impl VisionConfig {
    /// From `vision_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let read: Self = config.section("vision_config")?.read()?;
        ensure!(
            read.image_num_heads > 0 && !read.vit_layers.is_empty(),
            "`image_num_heads` of `vision_config` must not be 0, and `vit_layers` must name layers"
        );
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_file_and_conversions_say_the_same() {
        let read = |text: &str| {
            let config = Section::parse("config.json", text).unwrap();
            (
                TextConfig::read(&config).unwrap(),
                VisionConfig::read(&config).unwrap(),
            )
        };
        let published = read(
            r#"{"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "layer_norm_eps": 1e-6, "rope_theta": 1000000.0}"#,
        );
        let converted = read(
            r#"{"text_config": {"d_model": 3584, "n_layers": 28, "n_heads": 28, "layer_norm_eps": 1e-6, "rope_theta": 1000000.0},
                "vision_config": {"image_num_heads": 16, "vit_layers": [-2, -9]}}"#,
        );
        assert_eq!(published, converted);
    }
}
