//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::config::is_glm;
use crate::tiling;

/// The rules of `preprocessor_config.json`.
pub struct QwenVlProcessor {
    image: &'static str,
    /// A picture in a message that is one string, as the templates write it.
    in_text: &'static str,
    budget: PixelBudget,
    /// Sides are multiples of so many pixels; a square of them is one feature.
    unit: u32,
    pixels: PixelRules,
}

impl Processor for QwenVlProcessor {
    /// The size that the model sees.
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let glm = is_glm(&files.config()?)?;
        let unit = rules.get_or("merge_size", 2_u32)? * rules.get_or("patch_size", 14_u32)?;
        ensure!(unit > 0, "`merge_size` and `patch_size` must not be 0");
        let (image, in_text) = match glm {
            true => ("<|image|>", "<|begin_of_image|><|image|><|end_of_image|>"),
            false => ("<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>"),
        };
        Ok(Self {
            image,
            in_text,
            budget: tiling::budget(&rules, glm)?,
            unit,
            // As in transformers' image processors.
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        tiling::fit(&self.budget, size, self.unit)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        let grid = |used: &Size| [used.height / self.unit, used.width / self.unit];
        let grids: Vec<[u32; 2]> = pictures.iter().map(grid).collect();
        let media = pictures.iter().zip(&grids);
        let media = media.map(|(used, [rows, columns])| MediumPlan::whole(*used, rows * columns));
        let prompt = Prompt::of(self.image).in_text(self.in_text).render(request)?;
        let mut plan = prompt.plan(media.collect(), |_, features| features)?;
        plan.positions = prompt::grid_positions(&plan.pieces, &grids);
        // The templates' end of a turn; GLM's turns end where the next begins.
        Ok(plan.stop_at(&["<|im_end|>", "<|user|>"]))
    }

    fn pixels(&self, used: &Size, image: &Image) -> Result<Vec<Pixels>> {
        Ok(vec![self.pixels.stack(&[self.pixels.resize(image, *used)])])
    }
}
