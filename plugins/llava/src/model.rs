//! The architecture.

use monocle_plugin::concat;
use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Activation, Mlp, Parameter};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Clip, VisionConfig, layers_before};

/// Vision tower, projector, decoder.
pub struct Llava {
    vision: Clip,
    keep_class: bool,
    projector: Mlp,
    /// What ends each row of patches (LLaVA-1.6).
    newline: Option<Parameter>,
    language: Llama,
}

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
    /// From `config.json`; what it leaves out is as in transformers' `LlavaConfig` and `CLIPVisionConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let mut vision = config.section("vision_config")?;
        let kind: String = vision.get_or("model_type", "clip_vision_model".to_owned())?;
        if kind != "clip_vision_model" {
            return Err(Error::new(format_args!(
                "the vision tower is of type `{kind}`, which this plugin does not have; name another plugin in a manifest"
            )));
        }
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
        let keep_class = match strategy.as_str() {
            "default" => false,
            "full" => true,
            other => {
                return Err(Error::new(format_args!(
                    "`vision_feature_select_strategy` in `config.json` is `{other}`, expected `default` or `full`"
                )));
            }
        };
        let tiled = config.get_or("model_type", "llava".to_owned())? == "llava_next";
        if tiled && keep_class {
            return Err(Error::new(
                "`vision_feature_select_strategy` in `config.json` is `full`, but patches of tiles are joined without class tokens",
            ));
        }
        Ok(Self {
            layers: layers_before(
                config.get_or("vision_feature_layer", -2)?,
                vision.num_hidden_layers,
            )?,
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

impl Network for Llava {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let vision = Vision::read(&config)?;
        // Names of the published checkpoints and of conversions to MLX, then those that newer releases of transformers write.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = part(
            &[
                "vision_tower.vision_model",
                "model.vision_tower.vision_model",
                "model.vision_tower",
            ],
            "embeddings.class_embedding",
        )?;
        let projector = part(
            &["multi_modal_projector", "model.multi_modal_projector"],
            "linear_1.weight",
        )?;
        let text = part(&["language_model.model", "model.language_model"], "norm.weight")?;
        let head = match text {
            "language_model.model" => "language_model.lm_head",
            _ => "lm_head",
        };
        let newline = match vision.tiled {
            true if weights::has("image_newline") => Some(nn::parameter("image_newline")),
            true => Some(nn::parameter("model.image_newline")),
            false => None,
        };
        Ok(Self {
            vision: Clip::load(tower, &vision.config, vision.layers)?,
            keep_class: vision.keep_class,
            projector: Mlp::load(
                &format!("{projector}.linear_1"),
                config.get_or("projector_hidden_act", Activation::Gelu)?,
                &format!("{projector}.linear_2"),
            ),
            newline,
            language: Llama::load(text, head, &language(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let features = self.vision.forward(pixels)?;
        let [squares, rows, _] = features.dimensions("features of the vision tower")?;
        let features = match self.keep_class {
            true => features,
            false => features.narrow(1, 1, rows),
        };
        let features = self.projector.forward(&features); // [squares, patches, hidden]
        let [_, patches, hidden] = features.dimensions("the projected features")?;
        let Some(newline) = &self.newline else {
            return Ok(vec![features.reshape(&[squares * patches, hidden])]);
        };
        let whole = features.narrow(0, 0, 1).reshape(&[patches, hidden]);
        let tiles = features.narrow(0, 1, squares);
        Ok(vec![match join(&tiles, layout, &newline.value())? {
            Some(tiles) => concat(&[&whole, &tiles], 0),
            None => whole,
        }])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

/// Tiles `[tiles, patches, hidden]` joined to one picture, less the padding, with `newline` `[hidden]` after each row of patches:
/// `[features, hidden]`; `None` when nothing is left of them.
fn join(tiles: &Tensor, layout: &[u32], newline: &Tensor) -> Result<Option<Tensor>> {
    let &[rows, columns, top, bottom, left, right] = layout else {
        return Err(Error::new(format_args!(
            "a layout of {} numbers, expected 6",
            layout.len()
        )));
    };
    let [_, patches, hidden] = tiles.dimensions("the tiles")?;
    let side = patches.isqrt();
    let height = bottom - top;
    if height == 0 {
        return Ok(None);
    }
    let ends = newline.reshape(&[1, 1, hidden]).broadcast(&[height, 1, hidden]);
    if left == right {
        return Ok(Some(ends.reshape(&[height, hidden])));
    }
    let picture = tiles
        .reshape(&[rows, columns, side, side, hidden])
        .permute(&[0, 2, 1, 3, 4])
        .reshape(&[rows * side, columns * side, hidden])
        .narrow(0, top, bottom)
        .narrow(1, left, right);
    let lines = concat(&[&picture, &ends], 1);
    Ok(Some(lines.reshape(&[height * (right - left + 1), hidden])))
}

fn language(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?;
    let mut language = LlamaConfig::read(&text)?;
    if text.get_or("model_type", String::new())? == "mistral" && !text.is_null("sliding_window") {
        // `MistralConfig` has a window unless the file says `null`.
        let window = text.get_or("sliding_window", 4096)?;
        language.windows = vec![Some(window); language.num_hidden_layers as usize];
    }
    Ok(language)
}
