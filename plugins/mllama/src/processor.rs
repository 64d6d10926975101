//! Prompts and pixels.

use monocle_plugin::prelude::*;
use monocle_plugin::{ContextRange, FeatureUse, Mark, Piece};

use crate::decoder::SEES_PICTURE;

use crate::tower::VisionConfig;

/// The ends of a turn and of a message; the tokenizer's own end token is another.
const ENDS: [&str; 2] = ["<|eot_id|>", "<|eom_id|>"];
const IMAGE: &str = "<|image|>";
const BEGIN: &str = "<|begin_of_text|>";

/// The rules of `preprocessor_config.json`.
pub struct MllamaProcessor {
    tile: u32,
    most_tiles: u32,
    /// Features of a picture, empty tiles included.
    features: u32,
    filter: Filter,
    normalisation: Normalisation,
    fitted: Vec<Fitted>,
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fitted {
    used: Size,
    rows: u32,
    columns: u32,
    /// The number of this arrangement of tiles, from 1.
    aspect: u32,
}

impl Processor for MllamaProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let vision = VisionConfig::read(&files.config()?)?;
        // As in transformers' `MllamaImageProcessor`.
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
            filter: Filter::read(&rules, Filter::Bilinear)?,
            normalisation: Normalisation::read(&rules, Normalisation::half())?,
            fitted: vec![],
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let fit = |size: &Size| Ok(fit(size.checked()?, self.tile, self.most_tiles));
        self.fitted = sizes.iter().map(fit).collect::<Result<_>>()?;
        let text = prompt::render_with_pictures(request, None, &[IMAGE], IMAGE)?;
        let text = prompt::with_pictures_first(text, IMAGE, sizes.len());
        let image = prompt::Placeholder::find(IMAGE)?;
        let text = with_beginning(text);
        prompt::expand(&text, &image, &sizes, |_, _| IMAGE.to_owned())?;
        let ids = prompt::encode(&text, tokenizer::encode_prompt)?;
        let images = self.fitted.iter().map(|fitted| MediumPlan {
            used: fitted.used,
            pieces: fitted.rows * fitted.columns,
            tensors: vec![vec![fitted.rows * fitted.columns, self.tile, self.tile, 3]],
            layout: vec![fitted.aspect],
            features: self.features,
        });
        let images = images.collect();
        let mut plan = prompt::plan_tokens(text, &[], &image, vec![])?;
        let (ranges, first) = ranges(&ids, image.id, self.features);
        plan.marks = vec![Mark {
            name: SEES_PICTURE.to_owned(),
            values: (0..ids.len()).map(|token| i32::from(token >= first)).collect(),
            generated: 1,
        }];
        plan.pieces = vec![Piece::Tokens(ids)];
        plan.media = images;
        plan.feature_use = FeatureUse::Context(ranges);
        plan.stop_tokens = ENDS.into_iter().filter_map(tokenizer::find).collect();
        Ok(plan)
    }

    fn pixels(&mut self, index: usize, image: &Image) -> Result<Vec<Pixels>> {
        let fitted = self.fitted.get(index);
        let fitted = fitted.context("pixels of a picture that was not planned")?;
        let resized = image.resize(fitted.used.width, fitted.used.height, self.filter);
        // What a tile has beyond the picture is black.
        let tile = |number: u32| {
            let (row, column) = (number / fitted.columns, number % fitted.columns);
            resized.crop(
                (column * self.tile) as i32,
                (row * self.tile) as i32,
                self.tile,
                self.tile,
            )
        };
        let tiles: Vec<Image> = (0..fitted.rows * fitted.columns).map(tile).collect();
        let tiles: Vec<&Image> = tiles.iter().collect();
        Ok(vec![stack(&tiles, self.normalisation, Layout::ChannelsLast)])
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
    let range = |tokens: std::ops::Range<usize>, pictures: std::ops::Range<usize>| ContextRange {
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

/// The arrangement of tiles that enlarges the picture least, else shrinks it least, and the size that the picture has on it
/// (`get_optimal_tiled_canvas` and `get_image_size_fit_to_canvas` in transformers' `image_processing_pil_mllama.py`).
fn fit(size: Size, tile: u32, most_tiles: u32) -> Fitted {
    let scale = |to: u32, from: u32| f64::from(to) / f64::from(from);
    let grids = (1..=most_tiles).flat_map(|rows| (1..=most_tiles / rows).map(move |columns| (rows, columns)));
    let scaled = grids.zip(1..).map(|((rows, columns), aspect)| {
        let scale = scale(rows * tile, size.height).min(scale(columns * tile, size.width));
        (scale, rows, columns, aspect)
    });
    let better = |(a, rows, columns, _): &(f64, u32, u32, u32),
                  (b, other_rows, other_columns, _): &(f64, u32, u32, u32)| {
        match (*a >= 1.0, *b >= 1.0) {
            (true, false) => true,
            (false, true) => false,
            _ if a == b => rows * columns < other_rows * other_columns,
            (true, true) => a < b,
            (false, false) => a > b,
        }
    };
    let best = scaled.reduce(|best, next| if better(&next, &best) { next } else { best });
    let (_, rows, columns, aspect) = best.unwrap_or((1.0, 1, 1, 1));
    let target = |side: u32, tiles: u32| side.clamp(tile, tiles * tile);
    let (width, height) = (target(size.width, columns), target(size.height, rows));
    let (by_width, by_height) = (scale(width, size.width), scale(height, size.height));
    let shrunk = |side: u32, by: f64, most: u32| ((f64::from(side) * by).floor() as u32).max(1).min(most);
    let used = if by_width < by_height {
        Size {
            width,
            height: shrunk(size.height, by_width, height),
        }
    } else {
        Size {
            width: shrunk(size.width, by_height, width),
            height,
        }
    };
    Fitted {
        used,
        rows,
        columns,
        aspect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        tile: u32,
        used: [u32; 2],
        tiles: [u32; 2],
        aspect: u32,
    }

    #[test]
    fn sizes_and_tiles_are_those_of_transformers() {
        let golden = include_str!("../../../tests/oracle/mllama/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let size = |[width, height]: [u32; 2]| Size { width, height };
            let expected = Fitted {
                used: size(case.used),
                rows: case.tiles[0],
                columns: case.tiles[1],
                aspect: case.aspect,
            };
            assert_eq!(fit(size(case.size), case.tile, 4), expected, "{:?}", case.size);
        }
    }

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
