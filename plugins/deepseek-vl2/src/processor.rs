//! Prompts, pixels, places in answers.

use std::cell::Cell;

use monocle_plugin::AnswerPart;
use monocle_plugin::prelude::*;

use crate::config::{VisionConfig, downsampling};
use crate::grounding::{self, MARKS};
use crate::tiling;

/// What the repositories lack: a picture is a line of its own, what is said stands without white space around it.
const TEMPLATE: &str = "{% for message in messages %}{% set said %}{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content \
                        %}{% if part.type == 'image' %}<image>\n{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endset %}\
                        {% if message.role == 'user' %}<|User|>: {{ said | trim }}\n\n<|Assistant|>:{% elif message.role == 'assistant' %}{{ said | trim }}\
                        <\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>{% else %}{{ said | trim }}{% endif %}{% endfor %}";

const BEGIN: &str = "<\u{ff5c}begin\u{2581}of\u{2581}sentence\u{ff5c}>";
const END: &str = "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>";
const IMAGE: &str = "<image>";
const ROLES: [&str; 2] = ["<|User|>", "<|Assistant|>"];
/// What opens an answer; answers are tokenised by themselves.
const ANSWER: &str = "<|Assistant|>:";
/// With more pictures, none is cut into tiles.
const MOST_CUT: usize = 2;

/// The rules of `processor_config.json`.
pub struct DeepseekVl2Processor {
    /// Sizes that whole tiles fill.
    candidates: Vec<Size>,
    /// The sides of a tile, in pixels.
    side: u32,
    /// Features along a side of a tile.
    across: u32,
    pixels: PixelRules,
    /// What is around a picture.
    blank: [u8; 3],
    /// Tokens that answers keep.
    marks: Vec<u32>,
    /// Whether pictures are cut into tiles.
    cut: Cell<bool>,
}

impl Processor for DeepseekVl2Processor {
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let rules = files.processor()?.or(&files.preprocessor()?);
        // Conversions may lack the processor's file.
        let sizes: Vec<[u32; 2]> = match rules.find("candidate_resolutions")? {
            Some(sizes) => sizes,
            None => config.get_or("candidate_resolutions", vec![[384, 384]])?,
        };
        let candidates: Vec<Size> = sizes
            .into_iter()
            .map(|[width, height]| Size::new(width, height))
            .collect();
        let side = candidates.first().map_or(0, |size| size.width);
        let whole = |pixels: u32| pixels > 0 && pixels.is_multiple_of(side);
        ensure!(
            side > 0
                && candidates
                    .iter()
                    .all(|size| whole(size.width) && whole(size.height)),
            "`candidate_resolutions` are not whole tiles of the first one's width, {side} pixels"
        );
        let patch = rules.get_or("patch_size", VisionConfig::read(&config)?.patch_size)?;
        let by = rules.get_or("downsample_ratio", downsampling(&config)?)?;
        ensure!(
            patch > 0 && by > 0,
            "`patch_size` and `downsample_ratio` must not be 0"
        );
        let mut pixels = PixelRules::read(&rules, Filter::Bicubic, Normalisation::half())?;
        let (red, green, blue) = pixels.normalisation.mean;
        if !rules.get_or("normalize", true)? {
            pixels.normalisation = Normalisation::new(pixels.normalisation.rescale, [0.0; 3], [1.0; 3]);
        }
        // Those that the repositories' files lack are added in this order.
        let added = [IMAGE].iter().chain(&MARKS).chain(&ROLES);
        let added: Vec<String> = added.map(|&token| token.to_owned()).collect();
        let ids = tokenizer::add(&added, true);
        Ok(Self {
            candidates,
            side,
            across: (side / patch).div_ceil(by),
            pixels,
            blank: [red, green, blue].map(|mean| (mean * 255.0) as u8),
            marks: ids[1..=MARKS.len()].to_vec(),
            cut: Cell::new(true),
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        Ok(size)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        self.cut.set(pictures.len() <= MOST_CUT);
        let prompt = Prompt::of(IMAGE)
            .in_text("<image>\n")
            .fallback(TEMPLATE)
            .render(request)?;
        let media: Vec<MediumPlan> = pictures.iter().map(|size| self.medium(*size)).collect();
        let text = prompt.expand(&media, |_, features| features)?;
        let ids = prompt::encode(&text, tokens)?;
        let mut plan = prompt.plan_tokens(&ids, media)?.stop_at(&[END, ROLES[0]]);
        plan.keep_tokens = self.marks.clone();
        Ok(plan)
    }

    fn pixels(&self, picture: &Size, image: &Image) -> Result<Vec<Pixels>> {
        let padded = |canvas| tiling::padded(image, canvas, &self.pixels, self.blank);
        let (canvas, grid) = self.canvas(*picture);
        let mut views = vec![padded(Size::square(self.side))];
        views.extend(padded(canvas).tiles(grid, self.side));
        Ok(vec![self.pixels.stack(&views)])
    }

    fn parts(&self, answer: &str, pictures: &[Size]) -> Vec<AnswerPart> {
        let Some((size, before)) = pictures.split_last() else {
            return vec![];
        };
        grounding::read(answer, before.len() as u32, *size)
    }
}

impl DeepseekVl2Processor {
    /// The size that a picture is fitted into, and its tiles.
    fn canvas(&self, picture: Size) -> (Size, Grid) {
        let best = tiling::best(picture, &self.candidates).filter(|_| self.cut.get());
        let canvas = best.unwrap_or(Size::square(self.side));
        (
            canvas,
            Grid::new(canvas.width / self.side, canvas.height / self.side),
        )
    }

    /// Features of the overview, a separator, and features of the tiles, each row ended.
    fn medium(&self, picture: Size) -> MediumPlan {
        let (canvas, grid) = self.canvas(picture);
        let lines = |rows: u32, columns: u32| rows * self.across * (columns * self.across + 1);
        let features = lines(1, 1) + 1 + lines(grid.rows, grid.columns);
        MediumPlan::tiles(canvas, 1 + grid.tiles(), self.side, features)
            .with_layout(vec![grid.rows, grid.columns])
    }
}

/// The prompt begins with the begin-of-text token.
fn tokens(text: &str) -> Vec<u32> {
    let begin = tokenizer::beginning().or(tokenizer::find(BEGIN));
    let said = text.split_inclusive(ANSWER).flat_map(tokenizer::encode);
    let said: Vec<u32> = said.collect();
    match said.first() == begin.as_ref() {
        true => said,
        false => begin.into_iter().chain(said).collect(),
    }
}
