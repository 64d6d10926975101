//! `config.json` in both of its layouts.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{VisionConfig, layers_before};
use serde::Deserialize;

/// More features a tile than this are a mistake in the config; published models have 256.
const MOST_FEATURES: u32 = 65_536;

/// What both the processor and the network need.
pub struct Config {
    /// The file has the original layout, not that of transformers.
    pub original: bool,
    /// Sizes of the vision tower.
    pub vision: VisionConfig,
    /// How many of its blocks run.
    pub layers: u32,
    /// Pixel shuffle packs squares of so many patches a side into one feature.
    pub shuffle: u32,
    /// Between the projector's layers.
    pub activation: Activation,
    /// The decoder's section.
    pub text: Section,
    /// Sides of a tile, in pixels.
    pub tile: u32,
}

/// One number, or one each for height and width.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    One(u32),
    Two([u32; 2]),
}

impl Config {
    /// What the file leaves out is as in transformers' `InternVLConfig`, or as in the original `InternVLChatConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let original = config.has("llm_config");
        let (text, layer) = match original {
            true => ("llm_config", "select_layer"),
            false => ("text_config", "vision_feature_layer"),
        };
        let section = config.section("vision_config")?;
        let defaults = match original {
            true => [3200, 25, 48, 224, 14],
            false => [1024, 16, 24, 448, 14],
        };
        let side = |key: &str, default: u32| match section.find(key)? {
            None => Ok(default),
            Some(Side::One(side)) => Ok(side),
            Some(Side::Two([height, width])) if height == width => Ok(height),
            Some(Side::Two(sides)) => Err(Error::new(format_args!(
                "`{key}` in the vision config is {sides:?}, expected a square"
            ))),
        };
        let image = side("image_size", defaults[3])?;
        let vision = VisionConfig {
            hidden_size: section.get_or("hidden_size", defaults[0])?,
            num_attention_heads: section.get_or("num_attention_heads", defaults[1])?,
            num_hidden_layers: section.get_or("num_hidden_layers", defaults[2])?,
            image_size: image,
            patch_size: side("patch_size", defaults[4])?,
            hidden_act: section.get_or("hidden_act", Activation::Gelu)?,
            layer_norm_eps: section.get_or("layer_norm_eps", 1e-6)?,
        };
        ensure!(
            vision.patch_size > 0 && vision.num_attention_heads > 0,
            "`patch_size` and `num_attention_heads` of the vision config must not be 0"
        );
        Ok(Self {
            original,
            layers: layers_before(config.get_or(layer, -1)?, vision.num_hidden_layers)?,
            shuffle: shuffle(config.get_or("downsample_ratio", 0.5)?)?,
            activation: config.get_or("projector_hidden_act", Activation::Gelu)?,
            text: config.section(text)?,
            tile: config.get_or("force_image_size", image)?,
            vision,
        })
    }

    /// Features of one tile.
    pub fn features(&self) -> Result<u32> {
        let patches = self.tile / self.vision.patch_size;
        let fits = patches > 0 && patches.is_multiple_of(self.shuffle);
        let features = fits.then(|| (patches / self.shuffle).checked_pow(2)).flatten();
        features.filter(|&features| features <= MOST_FEATURES).context(format_args!(
            "tiles of {} pixels hold {patches} patches of {} a side, which should be a multiple of {} and make at most \
             {MOST_FEATURES} features",
            self.tile, self.vision.patch_size, self.shuffle
        ))
    }
}

fn shuffle(ratio: f64) -> Result<u32> {
    ensure!(
        ratio > 0.0 && ratio <= 1.0 && 1.0 / ratio <= 64.0,
        "`downsample_ratio` in `config.json` is {ratio}, expected a fraction such as 0.5"
    );
    Ok((1.0 / ratio) as u32)
}
