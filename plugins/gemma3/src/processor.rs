//! Prompts and pixels.

use monocle_plugin::prelude::*;

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
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        if rules.get_or("do_pan_and_scan", false)? {
            log::warn("`do_pan_and_scan` is set, but pictures are used whole");
        }
        // As in transformers' `Gemma3ImageProcessor` and `Gemma3Processor`.
        let features = rules.get_or("image_seq_length", 256)?;
        Ok(Self {
            squash: Squash::read(&rules, 224, Filter::Bilinear, Normalisation::half())?,
            features: files.processor()?.get_or("image_seq_length", features)?,
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let media = pictures.iter().map(|()| self.squash.plan(self.features));
        let prompt = Prompt::of(BEGIN)
            .feature(FEATURE)
            .pictures_first()
            .render(request)?;
        let picture = |_, features| format!("\n\n{BEGIN}{features}{END}\n\n");
        let mut plan = prompt.plan(media.collect(), picture)?.stop_at(&[END_OF_TURN]);
        plan.attention = AttentionScheme::MediumBlocks;
        Ok(plan)
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}
