//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::Linear;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Positions, Siglip, VisionConfig};

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
        (shuffle > 0)
            .then_some(())
            .context("`scale_factor` in `config.json` must not be 0")?;
        Ok(Self {
            vision: VisionConfig::siglip(vision)?,
            shuffle,
        })
    }

    /// How many features a tile of this side becomes.
    pub fn tokens_per_tile(&self, tile: u32) -> Result<u32> {
        let patches = tile / self.vision.patch_size;
        let fits = patches > 0 && patches.is_multiple_of(self.shuffle);
        fits.then_some((patches / self.shuffle).pow(2)).context(format_args!(
            "tiles of {tile} pixels hold {patches} patches of {} a side, which `scale_factor` {} does not divide",
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
        let [tiles, patches, hidden] = features.dimensions("the vision features")?;
        let packed = pixel_shuffle(&features, patches.isqrt(), self.shuffle);
        let rows = tiles * patches / self.shuffle.pow(2);
        Ok(vec![
            self.projection
                .forward(&packed.reshape(&[rows, hidden * self.shuffle.pow(2)])),
        ])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

/// Squares of `by` by `by` patches become one row each, their channels row by row: `[n, side · side, c]` to
/// `[n, side / by, side / by, by · by · c]`.
fn pixel_shuffle(x: &Tensor, side: u32, by: u32) -> Tensor {
    let (n, channels) = (x.dimension(0), x.dimension(2));
    let packed = side / by;
    x.reshape(&[n, packed, by, packed, by * channels])
        .permute(&[0, 1, 3, 2, 4]) // [n, packed, packed, by, by · c]
        .reshape(&[n, packed, packed, by * by * channels])
}
