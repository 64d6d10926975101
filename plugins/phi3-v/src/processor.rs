//! Plans and pixels.

use monocle_plugin::prelude::*;

use crate::tiling::{TILE, Tiling};
use crate::{long_context, prompts};

/// Tokens that end a turn; files of the model name some of them only.
const STOPS: [&str; 3] = ["<|end|>", "<|endoftext|>", "</s>"];

/// The rules of `preprocessor_config.json`.
pub struct Phi3VProcessor {
    crops: u32,
    pixels: PixelRules,
    /// Prompts with more tokens turn by other frequencies.
    short_context: u32,
}

impl Processor for Phi3VProcessor {
    type Picture = Tiling;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, config) = (files.preprocessor()?, files.config()?);
        Ok(Self {
            crops: rules.get_or("num_crops", 4)?.clamp(1, 64),
            pixels: PixelRules {
                filter: Filter::Bicubic,
                normalisation: Normalisation::read(&rules, Normalisation::clip())?,
            },
            short_context: config.get_or("original_max_position_embeddings", 4096)?,
        })
    }

    fn picture(&self, size: Size) -> Result<Tiling> {
        Ok(Tiling::new(size, self.crops))
    }

    fn plan(&self, request: &Request, pictures: &[Tiling]) -> Result<Plan> {
        let messages = prompts::as_strings(&request.messages);
        let text = prompt::render(&request.with_messages(messages), None)?;
        let features: Vec<u32> = pictures.iter().map(|tiling| tiling.features()).collect();
        // The reference has negative ids at pictures; any id will do, since no embedding is read there.
        let pieces = prompts::pieces(&text, &features, tokenizer::find("<unk>").unwrap_or(0))?;
        let media = pictures.iter().map(|tiling| {
            MediumPlan::tiles(tiling.size(), tiling.pictures(), TILE, tiling.features())
                .with_layout(vec![tiling.0.rows, tiling.0.columns])
        });
        let mut plan = Plan::new(&text, pieces, media.collect()).stop_at(&STOPS);
        let tokens = plan.tokens();
        plan.marks = vec![long_context::mark(tokens, tokens > self.short_context)];
        Ok(plan)
    }

    fn pixels(&self, tiling: &Tiling, image: &Image) -> Result<Vec<Pixels>> {
        let whole = self.pixels.resize(image, tiling.size());
        let mut views = vec![self.pixels.resize(&whole, Size::square(TILE))];
        views.extend(whole.tiles(tiling.0, TILE));
        Ok(vec![self.pixels.stack(&views)])
    }
}
