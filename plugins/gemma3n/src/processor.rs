//! Prompts and pixels.

use monocle_plugin::prelude::*;

const FEATURE: &str = "<image_soft_token>";
/// Open and close a picture's features.
const BEGIN: &str = "<start_of_image>";
const END: &str = "<end_of_image>";

/// The rules of `preprocessor_config.json` and `processor_config.json`; what they leave out is as in the published files.
pub struct Gemma3nProcessor {
    squash: Squash,
    features: u32,
}

impl Processor for Gemma3nProcessor {
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files
            .preprocessor()?
            .with_defaults([("do_normalize", false.into())]);
        let features = files.config()?.get_or("vision_soft_tokens_per_image", 256)?;
        Ok(Self {
            squash: Squash::read(&rules, 768, Filter::Bilinear, Normalisation::half())?,
            features: files.processor()?.get_or("image_seq_length", features)?,
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let media = vec![self.squash.plan(self.features); pictures.len()];
        let prompt = Prompt::of(FEATURE).pictures_first().render(request)?;
        let plan = prompt.plan(media, |_, features| format!("\n\n{BEGIN}{features}{END}\n\n"))?;
        Ok(plan.stop_at(&["<end_of_turn>"]))
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}
