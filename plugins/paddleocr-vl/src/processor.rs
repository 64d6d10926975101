//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::sizes;

/// A picture, as the template writes it, and the token of its features.
const PICTURE: &str = "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>";
const FEATURE: &str = "<|IMAGE_PLACEHOLDER|>";

/// The rules of `preprocessor_config.json`.
pub struct PaddleOcrVlProcessor {
    budget: PixelBudget,
    unit: u32,
    pixels: PixelRules,
}

impl Processor for PaddleOcrVlProcessor {
    /// The size that the model sees.
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let unit = rules
            .get_or("merge_size", 2_u32)?
            .saturating_mul(rules.get_or("patch_size", 14)?);
        ensure!(unit > 0, "`merge_size` and `patch_size` must not be 0");
        Ok(Self {
            budget: PixelBudget::read(&rules, 384 * 384, 1536 * 1536)?,
            unit,
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        sizes::fit(&self.budget, size, self.unit)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        let grid = |used: &Size| [used.height / self.unit, used.width / self.unit];
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
