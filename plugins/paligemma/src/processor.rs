//! Prompts and pixels.

use monocle_plugin::prelude::*;

const IMAGE: &str = "<image>";
const BEGIN: &str = "<bos>";

/// The rules of `preprocessor_config.json`; what it leaves out is as in transformers' `SiglipImageProcessor`.
pub struct PaliGemmaProcessor {
    squash: Squash,
    features: u32,
}

impl Processor for PaliGemmaProcessor {
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        Ok(Self {
            squash: Squash::read(&rules, 224, Filter::Bicubic, Normalisation::half())?,
            features: rules.get("image_seq_length")?,
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let answers = !pictures.is_empty();
        ensure!(answers, "PaliGemma models answer about a picture only; give one");
        ensure!(
            pictures.len() == 1,
            "PaliGemma models answer about one picture; the request has {}",
            pictures.len()
        );
        let mut prompt = Prompt::of(IMAGE).pictures_first().render(request)?;
        let shown = prompt.text.clone();
        prompt.text = prefix(&shown);
        let media = vec![self.squash.plan(self.features)];
        let expanded = prompt.expand(&media, |_, features| features)?;
        let ids = prompt::encode(&expanded, tokenizer::encode)?;
        prompt.text = shown;
        let mut plan = prompt.plan_tokens(&ids, media)?;
        plan.attention = AttentionScheme::Prefix(ids.len() as u32);
        Ok(plan)
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}

/// The prompt as the model was trained on it: the beginning token between picture and text, a line break at the end.
fn prefix(text: &str) -> String {
    let after = text.rfind(IMAGE).map_or(0, |at| at + IMAGE.len());
    let (picture, words) = text.split_at(after);
    let words = words.strip_prefix(BEGIN).unwrap_or(words);
    format!("{picture}{BEGIN}{words}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_those_of_the_reference() {
        // transformers 5.23: PaliGemmaProcessor.prepare_inputs_layout
        assert_eq!(prefix("<image>caption en"), "<image><bos>caption en\n");
        assert_eq!(prefix("<image><bos>caption en"), "<image><bos>caption en\n");
    }
}
