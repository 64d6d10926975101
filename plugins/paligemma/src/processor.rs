//! Prompts and pixels.

use monocle_plugin::prelude::*;
use monocle_plugin::{AttentionScheme, Squash};

const IMAGE: &str = "<image>";
const BEGIN: &str = "<bos>";

/// The rules of `preprocessor_config.json`.
pub struct PaliGemmaProcessor {
    squash: Squash,
    features: u32,
}

impl Processor for PaliGemmaProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        // As in transformers' `SiglipImageProcessor`.
        let default = Squash {
            size: Size::square(224),
            filter: Filter::Bicubic,
            normalisation: Normalisation::half(),
        };
        Ok(Self {
            squash: Squash::read(&rules, default)?,
            features: rules.get("image_seq_length")?,
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        ensure!(
            !sizes.is_empty(),
            "PaliGemma models answer about a picture only; give one"
        );
        let text = prompt::render_with_pictures(request, None, &[IMAGE], IMAGE)?;
        let text = prompt::with_pictures_first(text, IMAGE, sizes.len());
        let image = prompt::Placeholder::find(IMAGE)?;
        let prefix = prefix(&text);
        let expanded = prompt::expand(&prefix, &image, &sizes, |_, _| {
            IMAGE.repeat(self.features as usize)
        })?;
        let ids = prompt::encode(&expanded, tokenizer::encode)?;
        let images = sizes.iter().map(|_| self.squash.plan(self.features)).collect();
        let mut plan = prompt::plan_tokens(text, &ids, &image, images)?;
        plan.attention = AttentionScheme::Prefix(ids.len() as u32);
        Ok(plan)
    }

    fn pixels(&mut self, _index: usize, image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}

/// The prompt as the model was trained on it: the beginning token between pictures and text, a line break at the end.
fn prefix(text: &str) -> String {
    let after = text.rfind(IMAGE).map_or(0, |at| at + IMAGE.len());
    let (pictures, words) = text.split_at(after);
    let words = words.strip_prefix(BEGIN).unwrap_or(words);
    format!("{pictures}{BEGIN}{words}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_those_of_the_reference() {
        // transformers 5.23: PaliGemmaProcessor.prepare_inputs_layout
        assert_eq!(prefix("<image>caption en"), "<image><bos>caption en\n");
        assert_eq!(
            prefix("<image><image>what differs"),
            "<image><image><bos>what differs\n"
        );
        assert_eq!(prefix("<image><bos>caption en"), "<image><bos>caption en\n");
    }
}
