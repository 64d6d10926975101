//! Prompts and pixels.

use monocle_plugin::{AnswerPart, prelude::*};

use crate::config::{Around, Config};
use crate::crops::{grid, target};
use crate::places;
use crate::region::{POINTS, RECTANGLES};
use crate::rows::{NOWHERE, START};
use crate::tasks::{Length, Task, task};

/// The mark of prompts that ask for places: 0 where they ask for words.
pub const ASKED: &str = "asked";

/// The words alone: prompts are ids, and what stands around the words is in the configuration.
const TEMPLATE: &str = "{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content \
    %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}";

/// See the module.
pub struct MoondreamProcessor {
    config: Config,
    rules: PixelRules,
    places: Vec<u32>,
}

/// A picture's size and how it is cut.
pub struct Picture {
    size: Size,
    grid: Grid,
}

impl Processor for MoondreamProcessor {
    type Picture = Picture;

    fn configure(files: &ModelFiles) -> Result<Self> {
        Ok(Self {
            config: Config::read(&files.config()?)?,
            rules: PixelRules {
                filter: Filter::Lanczos,
                normalisation: Normalisation::half(),
            },
            places: tokenizer::add(&places::tokens(), true),
        })
    }

    fn picture(&self, size: Size) -> Result<Picture> {
        Ok(Picture {
            size,
            grid: grid(size, &self.config.vision),
        })
    }

    fn plan(&self, request: &Request, pictures: &[Picture]) -> Result<Plan> {
        let [picture] = pictures else {
            return Err(Error::new(format_args!(
                "Moondream 2 answers about one picture; the request has {}",
                pictures.len()
            )));
        };
        let turns = request.messages.len();
        ensure!(
            turns == 1,
            "Moondream 2 answers one question at a time; the request has {turns} messages"
        );
        let text = prompt::render(request, Some(TEMPLATE))?;
        let task = task(&text)?;
        let (vision, tokens) = (&self.config.vision, &self.config.tokens);
        let features = vision.features();
        let asked = self.ids(&task);
        let length = 1 + features + asked.len() as u32;
        ensure!(
            length < self.config.text.max_context,
            "the prompt has {length} tokens with the picture's, the model reads {}",
            self.config.text.max_context
        );
        let used = target(picture.grid, vision);
        let tiles = 1 + picture.grid.tiles();
        let medium = MediumPlan::tiles(used, tiles, vision.crop_size, features)
            .with_layout(vec![picture.grid.columns, picture.grid.rows]);
        let pieces = vec![
            Piece::Tokens(vec![tokens.bos_id]),
            Piece::medium(0, features, tokens.bos_id),
            Piece::Tokens(asked),
        ];
        let (places, start) = match task {
            Task::Caption(_) | Task::Query(_) => (0, NOWHERE),
            Task::Point(_) => (POINTS, NOWHERE),
            Task::Detect(_) => (RECTANGLES, length as i32),
        };
        let everywhere = |value: i32| vec![value; length as usize];
        let mut plan = Plan::new(&text, pieces, vec![medium])
            .with_mark(ASKED, everywhere(places), places)
            .with_mark(START, everywhere(start), start);
        plan.attention = AttentionScheme::Prefix(1 + features);
        plan.stop_tokens = vec![tokens.eos_id];
        plan.keep_tokens = self.places.clone();
        Ok(plan)
    }

    fn pixels(&self, picture: &Picture, image: &Image) -> Result<Vec<Pixels>> {
        let vision = &self.config.vision;
        let whole = self.rules.resize(image, target(picture.grid, vision));
        let step = vision.crop_size - 2 * vision.overlap_margin * vision.enc_patch_size;
        let side = vision.crop_size;
        let mut views = vec![self.rules.resize(image, Size::square(side))];
        for number in 0..picture.grid.tiles() {
            let (row, column) = (number / picture.grid.columns, number % picture.grid.columns);
            views.push(whole.crop((column * step) as i32, (row * step) as i32, side, side));
        }
        Ok(vec![self.rules.stack(&views)])
    }

    fn parts(&self, answer: &str, pictures: &[Picture]) -> Vec<AnswerPart> {
        pictures
            .first()
            .map(|picture| places::read(answer, picture.size))
            .unwrap_or_default()
    }
}

impl MoondreamProcessor {
    /// The ids that ask for something.
    fn ids(&self, task: &Task) -> Vec<u32> {
        let templates = &self.config.tokens.templates;
        match task {
            Task::Caption(Length::Short) => templates.caption.short.clone(),
            Task::Caption(Length::Normal) => templates.caption.normal.clone(),
            Task::Caption(Length::Long) => templates.caption.long.clone(),
            Task::Query(question) => {
                let around = &templates.query;
                // The original puts what follows a question there twice.
                let parts = [
                    &around.prefix,
                    &tokenizer::encode(question),
                    &around.suffix,
                    &around.suffix,
                ];
                parts.into_iter().flatten().copied().collect()
            }
            Task::Point(what) => named(&templates.point, what),
            Task::Detect(what) => named(&templates.detect, what),
        }
    }
}

/// The ids that ask where something is.
fn named(around: &Around, what: &str) -> Vec<u32> {
    let what = tokenizer::encode(&format!(" {what}"));
    let parts = [&around.prefix, &what, &around.suffix];
    parts.into_iter().flatten().copied().collect()
}
