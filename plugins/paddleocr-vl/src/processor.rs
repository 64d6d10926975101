//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::sizes::Budget;

/// A picture, as the template writes it, and the token of its features.
const PICTURE: &str = "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>";
const FEATURE: &str = "<|IMAGE_PLACEHOLDER|>";

/// The rules of `preprocessor_config.json`.
pub struct PaddleOcrVlProcessor {
    budget: Budget,
    pixels: PixelRules,
}

impl Processor for PaddleOcrVlProcessor {
    /// The size that the model sees.
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let size = rules.section("size")?;
        let pick = |older: &str, newer: &str, default: u64| -> Result<u64> {
            match rules.find(older)? {
                Some(pixels) => Ok(pixels),
                None => size.get_or(newer, default),
            }
        };
        let unit = rules
            .get_or("merge_size", 2_u32)?
            .saturating_mul(rules.get_or("patch_size", 14)?);
        ensure!(unit > 0, "`merge_size` and `patch_size` must not be 0");
        Ok(Self {
            budget: Budget {
                unit,
                least: pick("min_pixels", "shortest_edge", 384 * 384)?,
                most: pick("max_pixels", "longest_edge", 1536 * 1536)?,
            },
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        self.budget.fit(size)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        let grid = |used: &Size| [used.height / self.budget.unit, used.width / self.budget.unit];
        let grids: Vec<[u32; 2]> = pictures.iter().map(grid).collect();
        let media = pictures.iter().zip(&grids);
        let media = media.map(|(used, [rows, columns])| MediumPlan::whole(*used, rows * columns));
        let prompt = Prompt::of(FEATURE).in_text(PICTURE).render(request)?;
        let mut plan = prompt.plan(media.collect(), |_, features| features)?;
        plan.positions = prompt::grid_positions(&plan.pieces, &grids);
        Ok(plan.stop_at(&["</s>"]))
    }

    fn pixels(&self, used: &Size, image: &Image) -> Result<Vec<Pixels>> {
        Ok(vec![self.pixels.stack(&[self.pixels.resize(image, *used)])])
    }
}
