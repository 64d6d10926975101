//! Prompts and pixels.

use monocle_plugin::{AnswerPart, prelude::*};

use crate::crops::{Cut, Rules, corner};
use crate::points;

/// Around a picture's features, at each, and after each row of them.
const MARKS: [&str; 4] = ["<im_start>", "<im_patch>", "<im_col>", "<im_end>"];

/// As the published `chat_template`, for folders without one.
const TEMPLATE: &str = "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}{% if not loop.last %} {% endif %}{% endfor %}\
    {% if add_generation_prompt %} Assistant:{% endif %}";

/// The rules of `preprocessor_config.json`.
pub struct MolmoProcessor {
    rules: Rules,
    pixels: PixelRules,
}

/// A picture's size and how it is cut.
pub struct Picture {
    size: Size,
    cut: Cut,
}

impl Processor for MolmoProcessor {
    type Picture = Picture;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        Ok(Self {
            rules: Rules::read(&rules)?,
            pixels: PixelRules {
                filter: Filter::Bilinear,
                normalisation: Normalisation::read(&rules, Normalisation::clip())?,
            },
        })
    }

    fn picture(&self, size: Size) -> Result<Picture> {
        Ok(Picture {
            size,
            cut: self.rules.cut(size),
        })
    }

    fn plan(&self, request: &Request, pictures: &[Picture]) -> Result<Plan> {
        ensure!(
            pictures.len() < 2,
            "Molmo takes one picture a conversation, before its words; the request has {}",
            pictures.len()
        );
        let hidden = prompt::hide_all(&request.messages, &MARKS);
        let messages = prompt::as_strings(&hidden, |_| String::new());
        let text = prompt::render(&request.with_messages(messages), Some(TEMPLATE))?;
        let text = format!(" {}", text.trim_start());
        // Qwen's tokenizer has no beginning; the original takes its end.
        let begin = match tokenizer::beginning().or_else(|| tokenizer::find("<|endoftext|>")) {
            Some(begin) => vec![Piece::Tokens(vec![begin])],
            None => vec![],
        };
        let mut pieces = begin;
        for picture in pictures {
            self.slots(picture.cut.grid, &mut pieces)?;
        }
        pieces.push(Piece::Tokens(prompt::encode(&text, tokenizer::encode)?));
        let media = pictures.iter().map(|picture| self.medium(&picture.cut)).collect();
        Ok(Plan::new(&text, pieces, media).stop_at(&["<|endoftext|>"]))
    }

    fn pixels(&self, picture: &Picture, image: &Image) -> Result<Vec<Pixels>> {
        let side = self.rules.side;
        let grid = picture.cut.grid;
        let mut views = vec![self.padded(image, picture.cut.overview, Size::square(side))];
        let whole = self.padded(image, picture.cut.inside, self.rules.canvas(grid));
        for number in 0..grid.tiles() {
            let (row, column) = (number / grid.columns, number % grid.columns);
            let corner = |index: u32| (index * self.rules.step()) as i32;
            views.push(whole.crop(corner(column), corner(row), side, side));
        }
        Ok(vec![self.pixels.stack(&views)])
    }

    fn parts(&self, answer: &str, pictures: &[Picture]) -> Vec<AnswerPart> {
        pictures
            .first()
            .map(|picture| points::read(answer, picture.size))
            .unwrap_or_default()
    }
}

impl MolmoProcessor {
    fn medium(&self, cut: &Cut) -> MediumPlan {
        let (grid, inside) = (cut.grid, cut.inside);
        let features =
            self.rules.pooled().pow(2) + self.rules.features(grid.columns) * self.rules.features(grid.rows);
        MediumPlan::tiles(inside, 1 + grid.tiles(), self.rules.side, features).with_layout(vec![
            grid.columns,
            grid.rows,
            inside.width,
            inside.height,
        ])
    }

    /// The tokens of a picture: the overview's rows, then those of all crops.
    fn slots(&self, grid: Grid, pieces: &mut Vec<Piece>) -> Result<()> {
        let [start, patch, column, end] = MARKS.map(tokenizer::id);
        let (start, patch, column, end) = (start?, patch?, column?, end?);
        let pooled = self.rules.pooled();
        let mut offset = 0;
        for [rows, columns] in [
            [pooled, pooled],
            [self.rules.features(grid.rows), self.rules.features(grid.columns)],
        ] {
            pieces.push(Piece::Tokens(vec![start]));
            for _ in 0..rows {
                pieces.push(Piece::Features(Slot {
                    medium: 0,
                    offset,
                    tokens: columns,
                    token_id: patch,
                }));
                pieces.push(Piece::Tokens(vec![column]));
                offset += columns;
            }
            pieces.push(Piece::Tokens(vec![end]));
        }
        Ok(())
    }

    /// The picture in this size, in the middle of black.
    fn padded(&self, image: &Image, size: Size, canvas: Size) -> Image {
        let [left, above] = corner(size, canvas);
        let (right, below) = (
            canvas.width - size.width - left,
            canvas.height - size.height - above,
        );
        self.pixels
            .resize(image, size)
            .pad(left, above, right, below, 0, 0, 0)
    }
}
