//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::model::vision;

/// Where a picture goes. The reference gives it the id -200, which no embedding has.
const IMAGE: &str = "<image>";

/// For folders without a chat template: as the published repositories have it, without a line break after a turn's end.
const TEMPLATE: &str = "{% if messages[0].role != 'system' %}<|im_start|>system\nAnswer the questions.<|im_end|>{% endif %}\
    {% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The rules of `preprocessor_config.json`, and how many features a picture becomes.
pub struct NanoLlavaProcessor {
    squash: Squash,
    /// Pictures get a grey border that makes them square, instead of being squeezed.
    pad: bool,
    features: u32,
}

impl Processor for NanoLlavaProcessor {
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, vision) = (files.preprocessor()?, vision(&files.config()?)?);
        Ok(Self {
            squash: Squash::read(&rules, vision.image_size, Filter::Bicubic, Normalisation::half())?,
            pad: files.options()?.only(&["pad"])?.get_or("pad", false)?,
            features: vision.patches_per_side().pow(2),
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        ensure!(
            pictures.len() <= 1,
            "nanoLLaVA takes one picture a conversation; the request has {}",
            pictures.len()
        );
        // This model's own template knows messages of one text only.
        let hidden = prompt::hide_all(&request.messages, &[IMAGE]);
        let messages = prompt::as_strings(&hidden, |_| format!("{IMAGE}\n"));
        let text = prompt::render(&request.with_messages(messages), Some(TEMPLATE))?;
        prompt::expand(&text, IMAGE, pictures.len(), |_| String::new())?;
        let mut pieces = vec![];
        for (index, part) in (0..).zip(text.split(IMAGE)) {
            if index > 0 {
                pieces.push(Piece::medium(index - 1, self.features, 0));
            }
            // Each text is tokenised by itself, as the reference does.
            let tokens = prompt::encode(part, tokenizer::encode)?;
            if !tokens.is_empty() {
                pieces.push(Piece::Tokens(tokens));
            }
        }
        let media = vec![self.squash.plan(self.features); pictures.len()];
        // The template's end of a turn, which is not the tokenizer's end token.
        Ok(Plan::new(&text, pieces, media).stop_at(&["<|im_end|>"]))
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        Ok(match self.pad {
            true => self.squash.pixels(&square(image)),
            false => self.squash.pixels(image),
        })
    }
}

/// The picture in the middle of a grey square.
fn square(image: &Image) -> Image {
    let Size { width, height } = image.size();
    let side = width.max(height);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let (right, bottom) = (side - width - left, side - height - top);
    // Half of 255, rounded down: SigLIP's mean.
    image.pad(left, top, right, bottom, 127, 127, 127)
}
