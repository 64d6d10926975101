//! `config.json`.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::VisionConfig;

/// More tokens a tile than this are a mistake in the config; published models have at most 169.
const MOST_TOKENS: u32 = 65_536;

/// What tiles, patches and features measure.
pub struct Geometry {
    pub vision: VisionConfig,
    /// Pixel shuffle packs squares of so many patches a side into one feature.
    pub shuffle: u32,
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
