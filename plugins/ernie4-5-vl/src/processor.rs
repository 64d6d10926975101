//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::tiling;

/// The mark of tokens that go through the pictures' experts: features and the two tokens around them.
pub const SEEN: &str = "seen";

const FEATURE: &str = "<|IMAGE_PLACEHOLDER|>";
/// What published templates write in its place.
const MARK: &str = "<|image@placeholder|>";
const BEGIN: &str = "<|IMAGE_START|>";
const END: &str = "<|IMAGE_END|>";

/// The rules of `preprocessor_config.json`.
pub struct ErnieProcessor {
    budget: PixelBudget,
    /// Sides are multiples of so many pixels; a square of them is one feature.
    unit: u32,
    pixels: PixelRules,
}

impl Processor for ErnieProcessor {
    /// The size that the model sees.
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let unit = rules.get_or("merge_size", 2_u32)? * rules.get_or("patch_size", 14_u32)?;
        ensure!(unit > 0, "`merge_size` and `patch_size` must not be 0");
        Ok(Self {
            budget: tiling::budget(&rules)?,
            unit,
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        self.budget.fit(size, self.unit)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        let grids: Vec<[u32; 2]> = pictures
            .iter()
            .map(|used| [used.height, used.width].map(|side| side / self.unit))
            .collect();
        let media = pictures.iter().zip(&grids);
        let media = media.map(|(used, [rows, columns])| MediumPlan::whole(*used, rows * columns));
        let in_text = format!("{BEGIN}{MARK}{END}");
        let prompt = Prompt::of(MARK)
            .feature(FEATURE)
            .in_text(&in_text)
            .render(request)?;
        let mut plan = prompt.plan(media.collect(), |_, features| features)?;
        plan.positions = prompt::grid_positions(&plan.pieces, &grids);
        let around = [tokenizer::find(BEGIN), tokenizer::find(END)];
        let seen = plan.pieces.iter().flat_map(|piece| match piece {
            Piece::Tokens(ids) => ids
                .iter()
                .map(|id| i32::from(around.contains(&Some(*id))))
                .collect(),
            Piece::Features(slot) => vec![1; slot.tokens as usize],
        });
        let seen = seen.collect();
        Ok(plan.with_mark(SEEN, seen, 0))
    }

    fn pixels(&self, used: &Size, image: &Image) -> Result<Vec<Pixels>> {
        Ok(vec![self.pixels.stack(&[self.pixels.resize(image, *used)])])
    }
}
