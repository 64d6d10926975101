//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::sizes::{Limits, Sizes};

/// A picture, as the templates write it, and the token of its features.
const PICTURE: &str = "<|media_start|>image<|media_content|><|media_pad|><|media_end|>";
const FEATURE: &str = "<|media_pad|>";

/// The rules of `preprocessor_config.json`.
pub struct KimiVlProcessor {
    limits: Limits,
    pixels: PixelRules,
}

impl Processor for KimiVlProcessor {
    type Picture = Sizes;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, vision) = (files.preprocessor()?, VisionConfig::read(&files.config()?)?);
        let patch: u32 = rules.get_or("patch_size", vision.patch_size)?;
        let [by, _] = rules.get_or("merge_kernel_size", vision.merge_kernel_size)?;
        let square = patch.saturating_mul(by);
        ensure!(square > 0, "`patch_size` and `merge_kernel_size` must not be 0");
        // Without it, the original's rules leave patches that fill no square.
        ensure!(
            rules.get_or("pad_input", true)?,
            "`pad_input` of `preprocessor_config.json` is false; known is true"
        );
        Ok(Self {
            limits: Limits {
                patch,
                square,
                patches: rules.get_or("in_token_limit", 4096)?,
            },
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Sizes> {
        self.limits.fit(size)
    }

    fn plan(&self, request: &Request, pictures: &[Sizes]) -> Result<Plan> {
        let medium = |sizes: &Sizes| {
            let squares = |side: u32| side / self.limits.square;
            let (padded, features) = (
                sizes.padded,
                squares(sizes.padded.width) * squares(sizes.padded.height),
            );
            MediumPlan::whole(padded, features)
        };
        let prompt = Prompt::of(FEATURE).in_text(PICTURE).render(request)?;
        let plan = prompt.plan(pictures.iter().map(medium).collect(), |_, features| features)?;
        Ok(plan.stop_at(&["<|im_end|>", "[EOS]"]))
    }

    fn pixels(&self, sizes: &Sizes, image: &Image) -> Result<Vec<Pixels>> {
        let Sizes { scaled, padded } = *sizes;
        let scaled = self.pixels.resize(image, scaled);
        // What lies outside the picture is black.
        Ok(vec![self.pixels.stack(&[scaled.crop(
            0,
            0,
            padded.width,
            padded.height,
        )])])
    }
}
