//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{VisionConfig, layers_before};

/// What the vision tower gives.
pub struct Vision {
    /// Sizes of the tower.
    pub config: VisionConfig,
    /// The tower is SigLIP, which has no class token (LLaVA-OneVision).
    pub is_siglip: bool,
    /// How many of its blocks run.
    pub layers: u32,
    /// The class token's feature is kept.
    pub keep_class: bool,
    /// Pictures are cut into tiles (LLaVA-1.6 and later).
    pub tiled: bool,
    /// Features of tiles are stretched to fewer where they would be more than those of so many tiles (LLaVA-OneVision).
    pub most: Option<u32>,
}

impl Vision {
    /// What the file leaves out is as in transformers' `LlavaConfig`, `LlavaOnevisionConfig`, and the config classes of their towers.
    pub fn read(config: &Section) -> Result<Self> {
        let model_type: String = config.get_or("model_type", "llava".to_owned())?;
        let one_vision = model_type == "llava_onevision";
        let (tower, layer, strategy, sizes) = match one_vision {
            true => ("siglip_vision_model", -1, "full", [1152, 14, 384, 26, 16]),
            false => ("clip_vision_model", -2, "default", [1024, 14, 336, 24, 16]),
        };
        let mut vision = config.section("vision_config")?;
        let kind: String = vision.get_or("model_type", tower.to_owned())?;
        ensure!(
            kind == tower,
            "the vision tower is of type `{kind}`, which this plugin does not have; name another plugin in a manifest"
        );
        if !config.has("vision_config") {
            let keys = [
                "hidden_size",
                "patch_size",
                "image_size",
                "num_hidden_layers",
                "num_attention_heads",
            ];
            let [hidden, patch, image, layers, heads] = sizes.map(Into::into);
            vision = vision.with_defaults([
                (keys[0], hidden),
                (keys[1], patch),
                (keys[2], image),
                (keys[3], layers),
                (keys[4], heads),
            ]);
        }
        let vision = match one_vision {
            true => VisionConfig::siglip(vision)?,
            false => VisionConfig::clip(vision)?,
        };
        let strategy: String = config.get_or("vision_feature_select_strategy", strategy.to_owned())?;
        let known = if one_vision {
            &["full"][..]
        } else {
            &["default", "full"]
        };
        ensure!(
            known.contains(&strategy.as_str()),
            "`vision_feature_select_strategy` in `config.json` is `{strategy}`, expected `{}`",
            known.join("` or `")
        );
        let keep_class = strategy == "full" && !one_vision;
        let tiled = model_type != "llava";
        ensure!(
            !(tiled && keep_class),
            "`vision_feature_select_strategy` in `config.json` is `full`, but patches of tiles are joined without class tokens"
        );
        let layer = config.get_or("vision_feature_layer", layer)?;
        Ok(Self {
            layers: layers_before(layer, vision.num_hidden_layers)?,
            config: vision,
            is_siglip: one_vision,
            keep_class,
            tiled,
            most: one_vision.then(|| most_tiles(config)).transpose()?,
        })
    }

    /// Features of one square.
    pub fn features(&self) -> u32 {
        self.config.patches_per_side().pow(2) + u32::from(self.keep_class)
    }
}

/// The number in `anyres_max_9`.
fn most_tiles(config: &Section) -> Result<u32> {
    let ratio: String = config.get_or("vision_aspect_ratio", "anyres_max_9".to_owned())?;
    let most = ratio
        .strip_prefix("anyres_max_")
        .and_then(|most| most.parse().ok());
    most.filter(|most| *most > 0).context(format_args!(
        "`vision_aspect_ratio` in `config.json` is `{ratio}`, expected `anyres_max_9` or another number"
    ))
}

/// The decoder is Mistral, not Llama.
pub fn is_mistral(config: &Section) -> Result<bool> {
    let text = config.section("text_config")?;
    Ok(text.get_or("model_type", String::new())? == "mistral")
}

/// The decoder.
pub fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?;
    let mut language = LlamaConfig::read(&text)?;
    if is_mistral(config)? && !text.is_null("sliding_window") {
        // `MistralConfig` has a window unless the file says `null`.
        let window = text.get_or("sliding_window", 4096)?;
        language.windows = vec![Some(window); language.num_hidden_layers as usize];
    }
    Ok(language)
}
