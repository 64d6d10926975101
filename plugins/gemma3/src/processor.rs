//! Prompts and pixels.

use monocle_plugin::prelude::*;
use monocle_plugin::{AttentionScheme, Squash};

/// Ends each turn; the tokenizer's own end token is another.
const END_OF_TURN: &str = "<end_of_turn>";
/// Stands in templates where a picture goes, and opens its features.
const BEGIN: &str = "<start_of_image>";
const FEATURE: &str = "<image_soft_token>";
const END: &str = "<end_of_image>";

/// The rules of `preprocessor_config.json` and `processor_config.json`.
pub struct Gemma3Processor {
    squash: Squash,
    features: u32,
}

impl Processor for Gemma3Processor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        if rules.get_or("do_pan_and_scan", false)? {
            log::warn("`do_pan_and_scan` is set, but pictures are used whole");
        }
        // As in transformers' `Gemma3ImageProcessor` and `Gemma3Processor`.
        let default = Squash {
            size: Size::square(224),
            filter: Filter::Bilinear,
            normalisation: Normalisation::half(),
        };
        let features = rules.get_or("image_seq_length", 256)?;
        Ok(Self {
            squash: Squash::read(&rules, default)?,
            features: files.processor()?.get_or("image_seq_length", features)?,
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let text = prompt::render_with_pictures(request, None, &[BEGIN, FEATURE], BEGIN)?;
        let text = prompt::with_pictures_first(text, BEGIN, sizes.len());
        let begin = prompt::Placeholder::find(BEGIN)?;
        let features = FEATURE.repeat(self.features as usize);
        let picture = format!("\n\n{BEGIN}{features}{END}\n\n");
        let expanded = prompt::expand(&text, &begin, &sizes, |_, _| picture.clone())?;
        let images = sizes.iter().map(|_| self.squash.plan(self.features)).collect();
        let mut plan = prompt::plan(text, &expanded, &prompt::Placeholder::find(FEATURE)?, images)?;
        plan.attention = AttentionScheme::MediumBlocks;
        plan.stop_tokens.extend(tokenizer::find(END_OF_TURN));
        Ok(plan)
    }

    fn pixels(&mut self, _index: usize, image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}
