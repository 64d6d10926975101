//! `config.json`: the published one holds `config`, which is empty; what it leaves out is as in the original's dataclasses. Conversions have
//! `text_config` and `vision_config` with other names.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// Sizes, and the ids that prompts consist of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    pub text: TextConfig,
    pub vision: VisionConfig,
    pub tokens: Tokens,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    #[serde(alias = "hidden_size")]
    pub dim: u32,
    #[serde(alias = "num_hidden_layers")]
    pub n_layers: u32,
    #[serde(alias = "num_attention_heads")]
    pub n_heads: u32,
    #[serde(alias = "max_position_embeddings")]
    pub max_context: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    #[serde(alias = "patch_size")]
    pub enc_patch_size: u32,
    #[serde(alias = "num_hidden_layers")]
    pub enc_n_layers: u32,
    #[serde(alias = "num_attention_heads")]
    pub enc_n_heads: u32,
    pub crop_size: u32,
    pub max_crops: u32,
    /// In patches.
    pub overlap_margin: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Tokens {
    pub bos_id: u32,
    pub eos_id: u32,
    pub templates: Templates,
}

/// What stands around words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Templates {
    pub caption: Captions,
    pub query: Around,
    pub detect: Around,
    pub point: Around,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Captions {
    pub short: Vec<u32>,
    pub normal: Vec<u32>,
    pub long: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Around {
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            dim: 2048,
            n_layers: 24,
            n_heads: 32,
            max_context: 2048,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            enc_patch_size: 14,
            enc_n_layers: 27,
            enc_n_heads: 16,
            crop_size: 378,
            max_crops: 12,
            overlap_margin: 4,
        }
    }
}

impl Default for Templates {
    fn default() -> Self {
        let around = |prefix: &[u32]| Around {
            prefix: prefix.to_vec(),
            suffix: vec![3],
        };
        Self {
            caption: Captions::default(),
            query: around(&[1, 15381, 2]),
            detect: around(&[1, 7235, 476, 2]),
            point: around(&[1, 2581, 2]),
        }
    }
}

impl Default for Captions {
    fn default() -> Self {
        let length = |word| vec![1, 32708, 2, word, 3];
        Self {
            short: length(12492),
            normal: length(6382),
            long: length(4059),
        }
    }
}

impl Config {
    /// From the file.
    pub fn read(config: &Section) -> Result<Self> {
        let own = config.section("config")?;
        let part = |name: &str| match config.has(&format!("{name}_config")) {
            true => config.section(&format!("{name}_config")),
            false => own.section(name),
        };
        let read = Self {
            text: part("text")?.read()?,
            vision: part("vision")?.read()?,
            tokens: own.section("tokenizer")?.read()?,
        };
        let (text, vision) = (&read.text, &read.vision);
        let fits = text.n_heads > 0
            && text.dim.is_multiple_of(2 * text.n_heads)
            && vision.enc_patch_size > 0
            && vision.enc_n_heads > 0
            && vision.max_crops > 0
            && vision.crop_size.is_multiple_of(vision.enc_patch_size)
            && 2 * vision.overlap_margin < vision.side();
        ensure!(
            fits,
            "the sizes in `config.json` do not fit together: {text:?}, {vision:?}"
        );
        Ok(read)
    }
}

impl VisionConfig {
    /// Patches along a side of a crop.
    pub fn side(&self) -> u32 {
        self.crop_size / self.enc_patch_size
    }

    /// Features of a picture.
    pub fn features(&self) -> u32 {
        self.side().pow(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config> {
        Config::read(&Section::parse("config.json", text)?)
    }

    #[test]
    fn the_published_file_says_nothing() {
        // moondream/torch/config.py: MoondreamConfig()
        let config = read(r#"{"model_type": "moondream1", "config": {}}"#).unwrap();
        assert_eq!(
            (config.text.dim, config.text.n_layers, config.text.n_heads),
            (2048, 24, 32)
        );
        assert_eq!((config.vision.features(), config.vision.max_crops), (729, 12));
        assert_eq!(config.tokens.templates.query.prefix, [1, 15381, 2]);
        assert_eq!(config.tokens.templates.detect.prefix, [1, 7235, 476, 2]);
    }

    #[test]
    fn conversions_use_other_names() {
        let text = r#"{"text_config": {"hidden_size": 64, "num_attention_heads": 4}, "vision_config": {"patch_size": 7, "crop_size": 70}}"#;
        let config = read(text).unwrap();
        assert_eq!((config.text.dim, config.vision.side()), (64, 10));
        let error = read(r#"{"vision_config": {"crop_size": 100}}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("do not fit together"), "{error}");
    }
}
