//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::Linear;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

/// More tokens a tile than this are a mistake in the config; published models have at most 169.
const MOST_TOKENS: u32 = 65_536;

/// Vision tower, connector, decoder.
pub struct SmolVlm {
    vision: Siglip,
    projection: Linear,
    language: Llama,
    shuffle: u32,
}

/// What tiles, patches and features measure.
pub struct Geometry {
    vision: VisionConfig,
    /// Pixel shuffle packs squares of so many patches a side into one feature.
    shuffle: u32,
}

impl Geometry {
    /// From `config.json`; what it leaves out is as in transformers' `Idefics3Config` and `Idefics3VisionConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let vision = config.section("vision_config")?.with_defaults([
            ("hidden_size", 1152.into()),
            ("num_attention_heads", 16.into()),
            ("patch_size", 32.into()),
        ]);
        let shuffle = config.get_or("scale_factor", 2)?;
        ensure!(shuffle > 0, "`scale_factor` in `config.json` must not be 0");
        Ok(Self {
            vision: VisionConfig::siglip(vision)?,
            shuffle,
        })
    }

    /// How many features a tile of this side becomes.
    pub fn tokens_per_tile(&self, tile: u32) -> Result<u32> {
        let patches = tile / self.vision.patch_size;
        let fits = patches > 0 && patches.is_multiple_of(self.shuffle);
        let tokens = if fits {
            (patches / self.shuffle).checked_pow(2)
        } else {
            None
        };
        tokens.filter(|&tokens| tokens <= MOST_TOKENS).context(format_args!(
            "tiles of {tile} pixels hold {patches} patches of {} a side, which should be a multiple of `scale_factor` {} and \
             make at most {MOST_TOKENS} tokens",
            self.vision.patch_size, self.shuffle
        ))
    }
}

impl Network for SmolVlm {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let Geometry { vision, shuffle } = Geometry::read(&config)?;
        // Names of the original checkpoints, then those of conversions to MLX.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = part(&["model.vision_model", "vision_model"], "post_layernorm.weight")?;
        let connector = part(
            &["model.connector", "connector"],
            "modality_projection.proj.weight",
        )?;
        let text = part(
            &["model.text_model", "language_model", "language_model.model"],
            "norm.weight",
        )?;
        let head = if text == "model.text_model" {
            "lm_head"
        } else {
            "language_model.lm_head"
        };
        Ok(Self {
            vision: Siglip::load(tower, &vision, Positions::Fractional, None)?,
            projection: nn::linear(&format!("{connector}.modality_projection.proj")),
            language: Llama::load(text, head, &LlamaConfig::read(&config.section("text_config")?)?)?,
            shuffle,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let features = self.vision.forward(pixels)?; // [tiles, patches, hidden]
        let packed = nn::pixel_shuffle(&features, self.shuffle)?; // [tiles, tokens, shuffle² · hidden]
        let [tiles, tokens, channels] = packed.dimensions("the packed features")?;
        Ok(vec![
            self.projection
                .forward(&packed.reshape(&[tiles * tokens, channels])),
        ])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}
