//! `config.json`.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// Sizes of the tower.
#[derive(Debug, Clone, Deserialize)]
pub struct VisionConfig {
    pub hidden_act: Activation,
    pub num_hidden_layers: u32,
    pub num_global_layers: u32,
    pub attention_heads: u32,
    pub image_size: u32,
    pub patch_size: u32,
    pub norm_eps: f32,
    pub max_num_tiles: u32,
    pub intermediate_layers_indices: Vec<usize>,
}

impl VisionConfig {
    /// From `config.json`; what it leaves out is as in transformers' `MllamaVisionConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let section = config.section("vision_config")?.with_defaults([
            ("hidden_act", "gelu".into()),
            ("num_hidden_layers", 32.into()),
            ("num_global_layers", 8.into()),
            ("attention_heads", 16.into()),
            ("image_size", 448.into()),
            ("patch_size", 14.into()),
            ("norm_eps", 1e-5.into()),
            ("max_num_tiles", 4.into()),
            ("intermediate_layers_indices", vec![3, 7, 15, 23, 30].into()),
        ]);
        let config: Self = section.read()?;
        ensure!(
            ![config.patch_size, config.attention_heads, config.max_num_tiles].contains(&0),
            "`patch_size`, `attention_heads` and `max_num_tiles` of the vision config must not be 0"
        );
        let last = config.intermediate_layers_indices.iter().max();
        ensure!(
            last.is_none_or(|last| *last < config.num_hidden_layers as usize),
            "`intermediate_layers_indices` is {:?} for {} layers",
            config.intermediate_layers_indices,
            config.num_hidden_layers
        );
        Ok(config)
    }

    /// Rows of a tile: its patches and a class token.
    pub fn rows_per_tile(&self) -> u32 {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

/// The decoder and its layers that read pictures; what `text_config` leaves out is as in transformers' `MllamaTextConfig`.
pub fn text_config(config: &Section) -> Result<(LlamaConfig, Vec<u32>)> {
    let text = config.section("text_config")?.with_defaults([
        ("num_hidden_layers", 40.into()),
        ("num_key_value_heads", 8.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("rope_theta", 500_000.into()),
        ("max_position_embeddings", 131_072.into()),
        (
            "cross_attention_layers",
            vec![3, 8, 13, 18, 23, 28, 33, 38].into(),
        ),
    ]);
    Ok((LlamaConfig::read(&text)?, text.get("cross_attention_layers")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tower_s_defaults_are_those_of_the_reference() {
        // transformers 5.23: MllamaVisionConfig()
        let config = VisionConfig::read(&Section::parse("config.json", "{}").unwrap()).unwrap();
        assert_eq!((config.hidden_act, config.norm_eps), (Activation::Gelu, 1e-5));
        assert_eq!((config.num_hidden_layers, config.num_global_layers), (32, 8));
        assert_eq!((config.attention_heads, config.max_num_tiles), (16, 4));
        assert_eq!(config.intermediate_layers_indices, [3, 7, 15, 23, 30]);
        assert_eq!(config.rows_per_tile(), 1025); // 448 / 14, squared, and a class token
        let zero = Section::parse("config.json", r#"{"vision_config": {"patch_size": 0}}"#).unwrap();
        assert!(VisionConfig::read(&zero).is_err());
    }

    #[test]
    fn the_decoder_s_defaults_are_those_of_the_reference() {
        // transformers 5.23: MllamaTextConfig()
        let (config, layers) = text_config(&Section::parse("config.json", "{}").unwrap()).unwrap();
        assert_eq!((config.hidden_size, config.num_hidden_layers), (4096, 40));
        assert_eq!(
            (config.num_attention_heads, config.num_key_value_heads),
            (32, Some(8))
        );
        assert_eq!((config.rms_norm_eps, config.rope.theta), (1e-5, 500_000.0));
        assert_eq!(layers, [3, 8, 13, 18, 23, 28, 33, 38]);
    }
}
