//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::{VisionConfig, layers_before};

/// What the vision tower gives.
pub struct Vision {
    /// Sizes of the tower.
    pub config: VisionConfig,
    /// How many of its blocks run.
    pub layers: u32,
    /// The class token's feature is kept.
    pub keep_class: bool,
    /// Pictures are cut into tiles (LLaVA-1.6).
    pub tiled: bool,
}

impl Vision {
    /// What the file leaves out is as in transformers' `LlavaConfig` and `CLIPVisionConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let mut vision = config.section("vision_config")?;
        let kind: String = vision.get_or("model_type", "clip_vision_model".to_owned())?;
        ensure!(
            kind == "clip_vision_model",
            "the vision tower is of type `{kind}`, which this plugin does not have; name another plugin in a manifest"
        );
        if !config.has("vision_config") {
            vision = vision.with_defaults([
                ("hidden_size", 1024.into()),
                ("patch_size", 14.into()),
                ("image_size", 336.into()),
                ("num_hidden_layers", 24.into()),
                ("num_attention_heads", 16.into()),
            ]);
        }
        let vision = VisionConfig::clip(vision)?;
        let strategy: String = config.get_or("vision_feature_select_strategy", "default".to_owned())?;
        ensure!(
            ["default", "full"].contains(&strategy.as_str()),
            "`vision_feature_select_strategy` in `config.json` is `{strategy}`, expected `default` or `full`"
        );
        let keep_class = strategy == "full";
        let tiled = config.get_or("model_type", "llava".to_owned())? == "llava_next";
        ensure!(
            !(tiled && keep_class),
            "`vision_feature_select_strategy` in `config.json` is `full`, but patches of tiles are joined without class tokens"
        );
        let layer = config.get_or("vision_feature_layer", -2)?;
        Ok(Self {
            layers: layers_before(layer, vision.num_hidden_layers)?,
            config: vision,
            keep_class,
            tiled,
        })
    }

    /// Features of one square.
    pub fn features(&self) -> u32 {
        self.config.patches_per_side().pow(2) + u32::from(self.keep_class)
    }
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
