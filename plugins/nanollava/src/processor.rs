//! Prompts and pixels.

use monocle_plugin::prelude::*;
use monocle_plugin::{AttentionScheme, FeatureUse, Piece, PositionScheme, Slot, Squash};

use crate::model::vision;

/// Where a picture goes. The reference gives it the id -200, which no embedding has.
const IMAGE: &str = "<image>";

/// For folders without a chat template.
const TEMPLATE: &str = "{% if messages[0].role != 'system' %}<|im_start|>system\nAnswer the questions.<|im_end|>\n{% endif %}\
    {% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The rules of `preprocessor_config.json`, and how many features a picture becomes.
pub struct NanoLlavaProcessor {
    squash: Squash,
    /// Pictures get a grey border that makes them square, instead of being squeezed.
    pad: bool,
    features: u32,
}

impl Processor for NanoLlavaProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let vision = vision(&files.config()?)?;
        let default = Squash {
            size: Size::square(vision.image_size),
            filter: Filter::Bicubic,
            normalisation: Normalisation::half(),
        };
        Ok(Self {
            squash: Squash::read(&rules, default)?,
            pad: files.options()?.only(&["pad"])?.get_or("pad", false)?,
            features: vision.patches_per_side().pow(2),
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let messages = prompt::as_strings(&prompt::hide_all(&request.messages, &[IMAGE]), |_| {
            format!("{IMAGE}\n")
        });
        let text = prompt::render(&request.with_messages(messages), Some(TEMPLATE))?;
        let parts: Vec<&str> = text.split(IMAGE).collect();
        if parts.len() - 1 != sizes.len() {
            return Err(Error::new(format_args!(
                "the prompt has {} times `{IMAGE}` for {} pictures; check the template, and that no message contains `{IMAGE}`",
                parts.len() - 1,
                sizes.len()
            )));
        }
        let mut pieces = vec![];
        for (index, part) in (0..).zip(&parts) {
            // Each text is tokenised by itself, as the reference does.
            let tokens = prompt::encode(part, tokenizer::encode)?;
            if !tokens.is_empty() {
                pieces.push(Piece::Tokens(tokens));
            }
            if (index as usize) < sizes.len() {
                pieces.push(Piece::Features(Slot {
                    medium: index,
                    offset: 0,
                    tokens: self.features,
                    token_id: 0,
                }));
            }
        }
        Ok(Plan {
            media: vec![self.squash.plan(self.features); sizes.len()],
            text: prompt::shown(&text).into_owned(),
            pieces,
            encoder: None,
            positions: PositionScheme::Sequential,
            marks: vec![],
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Splice,
            // The template's end of a turn, which is not the tokenizer's end token.
            stop_tokens: tokenizer::find("<|im_end|>").into_iter().collect(),
            keep_tokens: vec![],
        })
    }

    fn pixels(&mut self, _index: usize, image: &Image) -> Result<Vec<Pixels>> {
        Ok(match self.pad {
            true => self.squash.pixels(&square(image)),
            false => self.squash.pixels(image),
        })
    }
}

/// A message whose content is one text: this model's own template knows no other.
/// The picture in the middle of a grey square.
fn square(image: &Image) -> Image {
    let Size { width, height } = image.size();
    let side = width.max(height);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let (right, bottom) = (side - width - left, side - height - top);
    // Half of 255, rounded down: SigLIP's mean.
    image.pad(left, top, right, bottom, 127, 127, 127)
}
