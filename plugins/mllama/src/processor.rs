//! Prompts and pixels.

use std::ops::Range;

use monocle_plugin::ContextRange;
use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::decoder::SEES_PICTURE;
use crate::tiling::Fitted;

/// The ends of a turn and of a message; the tokenizer's own end token is another.
const ENDS: [&str; 2] = ["<|eot_id|>", "<|eom_id|>"];
const IMAGE: &str = "<|image|>";
const BEGIN: &str = "<|begin_of_text|>";

/// The rules of `preprocessor_config.json`; what it leaves out is as in transformers' `MllamaImageProcessor`.
pub struct MllamaProcessor {
    tile: u32,
    most_tiles: u32,
    /// Features of a picture, empty tiles included.
    features: u32,
    pixels: PixelRules,
}

impl Processor for MllamaProcessor {
    type Picture = Fitted;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let vision = VisionConfig::read(&files.config()?)?;
        let tile = rules.section("size")?.get_or("height", 224)?;
        let most_tiles = rules.get_or("max_image_tiles", 4)?;
        ensure!(
            (tile, most_tiles) == (vision.image_size, vision.max_num_tiles),
            "`preprocessor_config.json` makes {most_tiles} tiles of {tile} pixels at most, `config.json` expects {} of {}",
            vision.max_num_tiles,
            vision.image_size
        );
        let features = most_tiles.checked_mul(vision.rows_per_tile());
        Ok(Self {
            tile,
            most_tiles,
            features: features.context("a picture has too many features to be counted")?,
            pixels: PixelRules::read(&rules, Filter::Bilinear, Normalisation::half())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Fitted> {
        Ok(Fitted::new(size, self.tile, self.most_tiles))
    }

    fn plan(&self, request: &Request, pictures: &[Fitted]) -> Result<Plan> {
        let media = pictures.iter().map(|fitted| {
            MediumPlan::tiles(fitted.used, fitted.grid.tiles(), self.tile, self.features)
                .with_layout(vec![fitted.aspect])
        });
        let text = with_beginning(Prompt::of(IMAGE).pictures_first().render(request)?.text);
        prompt::expand(&text, IMAGE, pictures.len(), |_| IMAGE.to_owned())?;
        let ids = prompt::encode(&text, tokenizer::encode_prompt)?;
        let (ranges, first) = ranges(&ids, tokenizer::id(IMAGE)?, self.features);
        let sees = (0..ids.len()).map(|token| i32::from(token >= first));
        let plan = Plan::new(&text, vec![Piece::Tokens(ids.clone())], media.collect());
        Ok(plan
            .with_context(ranges)
            .with_mark(SEES_PICTURE, sees.collect(), 1)
            .stop_at(&ENDS))
    }

    fn pixels(&self, fitted: &Fitted, image: &Image) -> Result<Vec<Pixels>> {
        let tiles = self
            .pixels
            .resize(image, fitted.used)
            .tiles(fitted.grid, self.tile);
        Ok(vec![self.pixels.stack(&tiles)])
    }
}

/// The beginning token, which the reference puts after leading pictures where a prompt has none.
fn with_beginning(text: String) -> String {
    if text.contains(BEGIN) {
        return text;
    }
    let words = text.trim_start_matches(IMAGE);
    format!("{}{BEGIN}{words}", &text[..text.len() - words.len()])
}

/// Which rows of context each token sees, and the first token that sees a picture. From its image token on, text sees the picture, up
/// to the next image token; pictures whose tokens follow each other are seen together. Tokens before the first see everything, and are
/// told apart by a mark.
fn ranges(ids: &[u32], image: u32, features: u32) -> (Vec<ContextRange>, usize) {
    let at: Vec<usize> = (0..ids.len()).filter(|&token| ids[token] == image).collect();
    let first = at.first().copied().unwrap_or(ids.len());
    let range = |tokens: Range<usize>, pictures: Range<usize>| ContextRange {
        from_token: tokens.start as u32,
        to_token: tokens.end as u32,
        from_row: pictures.start as u32 * features,
        to_row: pictures.end as u32 * features,
    };
    let mut ranges = vec![range(0..first, 0..at.len())];
    let mut together = 0;
    for (picture, &token) in at.iter().enumerate() {
        if picture > 0 && at[picture - 1] + 1 != token {
            together = picture;
        }
        let next = at.get(picture + 1).copied().unwrap_or(ids.len());
        ranges.push(range(token..next, together..picture + 1));
    }
    ranges.retain(|range| range.from_token < range.to_token);
    (ranges, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_comes_after_leading_pictures() {
        // transformers 5.23: build_string_from_input
        let with = |text: &str| with_beginning(text.to_owned());
        assert_eq!(with("Hello"), "<|begin_of_text|>Hello");
        assert_eq!(
            with("<|image|><|image|>Hello<|image|>"),
            "<|image|><|image|><|begin_of_text|>Hello<|image|>"
        );
        assert_eq!(with("<|begin_of_text|>Hello"), "<|begin_of_text|>Hello");
    }

    #[test]
    fn text_sees_the_picture_before_it_and_those_beside_that() {
        // transformers 5.23: get_cross_attention_token_mask gives [[1, 3], [3, 6], [4, 6], [6, 7]].
        let (ranges, first) = ranges(&[0, 9, 1, 9, 9, 2, 9], 9, 10);
        let found = ranges
            .iter()
            .map(|range| [range.from_token, range.to_token, range.from_row, range.to_row]);
        let expected = [
            [0, 1, 0, 40],
            [1, 3, 0, 10],
            [3, 4, 10, 20],
            [4, 6, 10, 30],
            [6, 7, 30, 40],
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(first, 1);
        let (none, first) = super::ranges(&[1, 2], 9, 10);
        assert_eq!((none.len(), first), (1, 2));
        assert_eq!((none[0].from_row, none[0].to_row), (0, 0));
    }
}
