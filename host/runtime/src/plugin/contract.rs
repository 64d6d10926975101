//! The contract's data as the host uses it, whatever version a plugin speaks. See `plugin-api/wit` for what it means.

use serde::Serialize;
use serde_json::{Map, Value};

/// The text files of a model's folder.
#[derive(Debug, Clone, Default)]
pub struct ModelFiles {
    /// `config.json`
    pub config: String,
    /// `preprocessor_config.json`
    pub preprocessor: Option<String>,
    /// `processor_config.json`
    pub processor: Option<String>,
    /// `generation_config.json`
    pub generation: Option<String>,
    /// The manifest's `plugin.options`, as JSON.
    pub options: String,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text(String),
    /// The picture of this number.
    Image(u32),
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One string.
    Text(String),
    /// Pieces.
    Parts(Vec<Part>),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What it says.
    pub content: Content,
    /// What the assistant thought before.
    pub reasoning: Option<String>,
    /// Tools that the assistant called.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's message: the id of the call whose result it is.
    pub tool_call: Option<String>,
    /// Of a tool's message: the tool's name.
    pub name: Option<String>,
}

impl Message {
    /// A message that has to do with no tool.
    pub fn new(role: impl Into<String>, content: Content) -> Self {
        Self {
            role: role.into(),
            content,
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call: None,
            name: None,
        }
    }

    /// Whether it has to do with a tool.
    pub fn is_of_tools(&self) -> bool {
        self.role == "tool" || !self.tool_calls.is_empty() || self.tool_call.is_some()
    }
}

/// A tool that the assistant called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// By which a result refers to it.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

/// What is asked of a model, as a plugin gets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanRequest {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Sizes of the pictures, in the order of the conversation.
    pub pictures: Vec<Size>,
    /// Tools that the model may call.
    pub tools: Vec<Map<String, Value>>,
    /// Variables for the template that the request brings.
    pub variables: Map<String, Value>,
}

/// What a plugin wants rendered.
#[derive(Debug, Clone, Default)]
pub struct Rendering {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Map<String, Value>>,
    /// Variables for the template that the request brings.
    pub variables: Map<String, Value>,
    /// Variables of the plugin.
    pub own_variables: Map<String, Value>,
    /// A template for when there is no other.
    pub fallback: Option<String>,
}

impl Rendering {
    /// Bytes of all texts in it, the template's included.
    pub fn text_bytes(&self) -> usize {
        let part = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image(_) => 0,
        };
        let message = |message: &Message| {
            let content = match &message.content {
                Content::Text(text) => text.len(),
                Content::Parts(parts) => parts.iter().map(part).sum(),
            };
            content + message.reasoning.as_ref().map_or(0, String::len)
        };
        let messages: usize = self.messages.iter().map(message).sum();
        messages + self.fallback.as_ref().map_or(0, String::len)
    }
}

/// A place in a picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// From its left side.
    pub x: f32,
    /// From its upper side.
    pub y: f32,
}

/// A piece of an answer that is more than text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum AnswerPart {
    /// Words between the others.
    Text {
        /// The words.
        text: String,
    },
    /// A rectangle.
    Rectangle {
        /// Which picture.
        medium: u32,
        /// What is there.
        label: Option<String>,
        /// A corner.
        upper_left: Place,
        /// The other one.
        lower_right: Place,
    },
    /// A point.
    Point {
        /// Which picture.
        medium: u32,
        /// What is there.
        label: Option<String>,
        /// Where.
        at: Place,
    },
    /// An outline: its last point is joined to its first.
    Outline {
        /// Which picture.
        medium: u32,
        /// What is there.
        label: Option<String>,
        /// Its points.
        points: Vec<Place>,
    },
    /// Words for a whole medium.
    Label {
        /// Which one.
        medium: u32,
        /// The words.
        label: String,
    },
}

impl AnswerPart {
    /// The same in pictures of other sizes: `factors` are those of a medium's sides.
    #[must_use]
    pub fn scaled(mut self, factors: impl Fn(u32) -> [f32; 2]) -> Self {
        let scale = |place: &mut Place, [x, y]: [f32; 2]| {
            place.x *= x;
            place.y *= y;
        };
        match &mut self {
            Self::Text { .. } | Self::Label { .. } => {}
            Self::Point { medium, at, .. } => scale(at, factors(*medium)),
            Self::Outline { medium, points, .. } => {
                let by = factors(*medium);
                points.iter_mut().for_each(|place| scale(place, by));
            }
            Self::Rectangle {
                medium,
                upper_left,
                lower_right,
                ..
            } => {
                let by = factors(*medium);
                scale(upper_left, by);
                scale(lower_right, by);
            }
        }
        self
    }

    /// Checks that it is of one of so many media, and that its places are numbers.
    pub fn check(&self, media: usize) -> Result<(), String> {
        let (medium, places) = match self {
            Self::Text { .. } => return Ok(()),
            Self::Label { medium, .. } => (medium, Vec::new()),
            Self::Point { medium, at, .. } => (medium, vec![*at]),
            Self::Outline { medium, points, .. } => (medium, points.clone()),
            Self::Rectangle {
                medium,
                upper_left,
                lower_right,
                ..
            } => (medium, vec![*upper_left, *lower_right]),
        };
        if *medium as usize >= media {
            return Err(format!("a part of the answer is of medium {medium}, of {media}"));
        }
        match places
            .iter()
            .find(|place| !place.x.is_finite() || !place.y.is_finite())
        {
            Some(place) => Err(format!("a part of the answer lies at {}, {}", place.x, place.y)),
            None => Ok(()),
        }
    }
}

/// A piece of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Token ids.
    Tokens(Vec<u32>),
    /// Room for a picture's features.
    Features(Slot),
}

/// Consecutive tokens that hold features of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Which picture.
    pub image: u32,
    /// First feature.
    pub offset: u32,
    /// How many.
    pub tokens: u32,
    /// The id at these tokens.
    pub token_id: u32,
}

/// What will be done with one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImagePlan {
    /// The size that the model sees.
    pub used: Size,
    /// Pieces that it is cut into.
    pub tiles: u32,
    /// Shapes of its pixel tensors.
    pub pixels: Vec<Vec<usize>>,
    /// Further numbers for `encode`.
    pub layout: Vec<u32>,
    /// Features that `encode` will give.
    pub features: u32,
}

impl ImagePlan {
    /// Checks that its pixels are few enough tensors, and small enough, to reckon with.
    fn check_pixels(&self) -> Result<(), String> {
        const TENSORS: usize = 64;
        const DIMENSIONS: usize = 8;
        const ELEMENTS: usize = 1 << 30;
        if self.pixels.len() > TENSORS {
            return Err(format!(
                "{} pixel tensors, more than the {TENSORS} that one picture may have",
                self.pixels.len()
            ));
        }
        for shape in &self.pixels {
            if shape.len() > DIMENSIONS {
                return Err(format!(
                    "pixels of {} dimensions, more than {DIMENSIONS}",
                    shape.len()
                ));
            }
            let elements = shape
                .iter()
                .try_fold(1_usize, |product, &size| product.checked_mul(size));
            if elements.is_none_or(|elements| elements > ELEMENTS) {
                return Err(format!("pixels of {shape:?}, more than {ELEMENTS} elements"));
            }
        }
        Ok(())
    }
}

/// Where tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// Token `i` at position `i`.
    Sequential,
    /// Row-major `[axes, tokens]`, and the position of the first generated token.
    Explicit {
        /// Rows.
        axes: usize,
        /// The positions.
        values: Vec<i32>,
        /// Where generation goes on.
        next: i32,
    },
}

/// A number for each token that is no position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// By which the forward pass asks for it.
    pub name: String,
    /// One for each token of the prompt.
    pub values: Vec<i32>,
    /// At every generated token.
    pub generated: i32,
}

/// Marks of one plan.
const MARKS: usize = 16;
/// Bytes of a mark's name.
const MARK_NAME: usize = 64;

/// Which tokens of the prompt see which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionScheme {
    /// Those before.
    Causal,
    /// The first so many see each other.
    Prefix(u32),
    /// Those of a slot see each other.
    ImageBlocks,
}

/// Tokens that see rows of context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextRange {
    /// First token.
    pub from_token: u32,
    /// One past the last token.
    pub to_token: u32,
    /// First row.
    pub from_row: u32,
    /// One past the last row.
    pub to_row: u32,
}

/// What becomes of picture features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureUse {
    /// In place of embeddings.
    Splice,
    /// Read by cross attention.
    Context(Vec<ContextRange>),
}

/// The prompt of an encoder: `network.encode-prompt` makes a row of context of each of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderPlan {
    /// Tokens and slots.
    pub pieces: Vec<Piece>,
    /// Where tokens are.
    pub positions: Positions,
    /// What else is known of each token.
    pub marks: Vec<Mark>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rendered prompt.
    pub text: String,
    /// The prompt in tokens and slots; with an encoder, what the decoder begins with.
    pub pieces: Vec<Piece>,
    /// One a picture.
    pub images: Vec<ImagePlan>,
    /// The encoder's prompt.
    pub encoder: Option<EncoderPlan>,
    /// Where tokens are.
    pub positions: Positions,
    /// What else is known of each token.
    pub marks: Vec<Mark>,
    /// Who sees whom.
    pub attention: AttentionScheme,
    /// What becomes of features.
    pub feature_use: FeatureUse,
    /// Further end tokens.
    pub stop_tokens: Vec<u32>,
    /// Special tokens that stay in the answer.
    pub keep_tokens: Vec<u32>,
}

impl Plan {
    /// The ids of all tokens, image tokens at the slots.
    pub fn token_ids(&self) -> Vec<u32> {
        token_ids(&self.pieces)
    }

    /// Bytes of its lists and texts, and of the prompts that are made of it.
    pub fn held_bytes(&self) -> usize {
        let of_prompt = |pieces: &[Piece], positions: &Positions, marks: &[Mark]| {
            let tokens = |piece: &Piece| match piece {
                Piece::Tokens(tokens) => tokens.len(),
                Piece::Features(slot) => slot.tokens as usize,
            };
            let positions = match positions {
                Positions::Sequential => 0,
                Positions::Explicit { values, .. } => values.len(),
            };
            let marked = marks.iter().map(|mark| mark.values.len());
            let numbers = pieces.iter().map(tokens).chain(marked).chain([positions]);
            let numbers = numbers.fold(0, usize::saturating_add).saturating_mul(4);
            // Once in the plan, once in the prompt.
            let pieces = size_of_val(pieces).saturating_add(numbers);
            pieces.saturating_mul(2)
        };
        let image = |image: &ImagePlan| {
            let numbers: usize = image.pixels.iter().map(|shape| size_of_val(&shape[..])).sum();
            let lists = size_of_val(&image.pixels[..]) + size_of_val(&image.layout[..]);
            numbers + lists + size_of::<ImagePlan>()
        };
        let ranges = match &self.feature_use {
            FeatureUse::Splice => 0,
            FeatureUse::Context(ranges) => 2 * size_of_val(&ranges[..]),
        };
        let decoder = of_prompt(&self.pieces, &self.positions, &self.marks);
        let encoder = self.encoder.as_ref().map_or(0, |encoder| {
            of_prompt(&encoder.pieces, &encoder.positions, &encoder.marks)
        });
        let tokens = size_of_val(&self.stop_tokens[..]) + size_of_val(&self.keep_tokens[..]);
        let images: usize = self.images.iter().map(image).sum();
        [decoder, encoder, ranges, tokens, images, self.text.len()]
            .into_iter()
            .fold(0, usize::saturating_add)
    }

    /// Checks that the plan agrees with itself and with a request of so many pictures, before anything is computed.
    pub fn check(&self, images: usize) -> Result<(), String> {
        if self.images.len() != images {
            return Err(format!("planned {} pictures of {images}", self.images.len()));
        }
        let tokens = count_tokens(&self.pieces)?;
        for (index, image) in self.images.iter().enumerate() {
            image
                .check_pixels()
                .map_err(|reason| format!("picture {index}: {reason}"))?;
        }
        check_positions(&self.positions, tokens)?;
        check_marks(&self.marks, tokens)?;
        if let AttentionScheme::Prefix(prefix) = self.attention
            && u64::from(prefix) > tokens
        {
            return Err(format!("a prefix of {prefix} tokens in a prompt of {tokens}"));
        }
        match &self.encoder {
            None => self.check_decoder(tokens),
            Some(encoder) => self.check_encoder(encoder, tokens),
        }
    }

    /// A prompt whose features are in it, or that sees them as context.
    fn check_decoder(&self, tokens: u64) -> Result<(), String> {
        let used = self.used_features(&self.pieces)?;
        match &self.feature_use {
            FeatureUse::Splice => self.check_all_used(&used),
            FeatureUse::Context(ranges) => {
                let rows: u64 = self.images.iter().map(|image| u64::from(image.features)).sum();
                check_ranges(ranges, tokens, rows)?;
                let reads =
                    |range: &ContextRange| range.from_row < range.to_row && range.from_token < range.to_token;
                match rows == 0 || ranges.iter().any(reads) {
                    true => Ok(()),
                    false => Err(format!(
                        "no token sees any of the {rows} rows of context that the pictures give"
                    )),
                }
            }
        }
    }

    /// An encoder's prompt, and a decoder's that sees its rows.
    fn check_encoder(&self, encoder: &EncoderPlan, tokens: u64) -> Result<(), String> {
        let of_encoder = |reason: String| format!("the encoder's prompt: {reason}");
        let rows = count_tokens(&encoder.pieces).map_err(of_encoder)?;
        check_positions(&encoder.positions, rows).map_err(of_encoder)?;
        check_marks(&encoder.marks, rows).map_err(of_encoder)?;
        if self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Features(_)))
        {
            return Err(
                "a slot stands in the decoder's prompt: with an encoder, slots stand in its prompt"
                    .to_owned(),
            );
        }
        let used = self.used_features(&encoder.pieces)?;
        self.check_all_used(&used)?;
        match &self.feature_use {
            FeatureUse::Splice => Ok(()),
            FeatureUse::Context(ranges) => check_ranges(ranges, tokens, rows),
        }
    }

    /// How many features of each picture slots use: each at most once, in order.
    fn used_features(&self, pieces: &[Piece]) -> Result<Vec<u32>, String> {
        let mut used = vec![0_u32; self.images.len()];
        for piece in pieces {
            let Piece::Features(slot) = piece else { continue };
            let Some(next) = used.get_mut(slot.image as usize) else {
                return Err(format!(
                    "a slot is for picture {}, of {}",
                    slot.image,
                    self.images.len()
                ));
            };
            if slot.offset != *next {
                return Err(format!(
                    "a slot of picture {} starts at feature {}, the one before ended at {next}",
                    slot.image, slot.offset
                ));
            }
            if slot.tokens == 0 {
                return Err(format!("a slot of picture {} has no tokens", slot.image));
            }
            *next = next.checked_add(slot.tokens).ok_or("too many tokens in slots")?;
        }
        Ok(used)
    }

    /// Each feature of each picture must be used.
    fn check_all_used(&self, used: &[u32]) -> Result<(), String> {
        for (index, (image, used)) in self.images.iter().zip(used).enumerate() {
            if image.features != *used {
                return Err(format!(
                    "picture {index}: {} features for {used} image tokens in the prompt",
                    image.features
                ));
            }
        }
        Ok(())
    }
}

/// The ids of all tokens, image tokens at the slots.
pub fn token_ids(pieces: &[Piece]) -> Vec<u32> {
    let mut ids = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Tokens(tokens) => ids.extend_from_slice(tokens),
            Piece::Features(slot) => ids.extend(std::iter::repeat_n(slot.token_id, slot.tokens as usize)),
        }
    }
    ids
}

/// How many tokens a prompt has. Checked first: later steps expand slots into lists.
fn count_tokens(pieces: &[Piece]) -> Result<u64, String> {
    let limit = 1_u64 << 24;
    let tokens = pieces.iter().map(|piece| match piece {
        Piece::Tokens(tokens) => tokens.len() as u64,
        Piece::Features(slot) => u64::from(slot.tokens),
    });
    match tokens.sum() {
        0 => Err("the prompt has no tokens".to_owned()),
        tokens if tokens > limit => Err(format!(
            "the prompt has {tokens} tokens, more than the {limit} that any may have"
        )),
        tokens => Ok(tokens),
    }
}

fn check_positions(positions: &Positions, tokens: u64) -> Result<(), String> {
    match positions {
        Positions::Explicit { axes, values, .. }
            if *axes == 0 || *axes > 8 || values.len() as u64 != *axes as u64 * tokens =>
        {
            Err(format!(
                "{} positions on {axes} axes for {tokens} tokens",
                values.len()
            ))
        }
        _ => Ok(()),
    }
}

fn check_marks(marks: &[Mark], tokens: u64) -> Result<(), String> {
    if marks.len() > MARKS {
        return Err(format!(
            "{} marks, more than the {MARKS} that a plan may have",
            marks.len()
        ));
    }
    for (index, mark) in marks.iter().enumerate() {
        let name = &mark.name;
        if name.is_empty() || name.len() > MARK_NAME {
            return Err(format!(
                "a mark's name has {} bytes, expected 1 to {MARK_NAME}",
                name.len()
            ));
        }
        if marks[..index].iter().any(|other| other.name == *name) {
            return Err(format!("two marks are called `{name}`"));
        }
        if mark.values.len() as u64 != tokens {
            return Err(format!(
                "mark `{name}` has {} values for {tokens} tokens",
                mark.values.len()
            ));
        }
    }
    Ok(())
}

/// Ranges of context must lie within what there is.
fn check_ranges(ranges: &[ContextRange], tokens: u64, rows: u64) -> Result<(), String> {
    if ranges.len() as u64 > tokens {
        return Err(format!("{} ranges of context for {tokens} tokens", ranges.len()));
    }
    let outside = |range: &&ContextRange| {
        range.from_row > range.to_row || u64::from(range.to_row) > rows || range.from_token > range.to_token
    };
    if let Some(range) = ranges.iter().find(outside) {
        return Err(format!("{range:?} lies outside {rows} rows of context"));
    }
    if let Some(range) = ranges.iter().find(|range| u64::from(range.to_token) > tokens) {
        return Err(format!("{range:?} lies beyond the {tokens} tokens of the prompt"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five tokens and a picture of four rows of context.
    fn plan(ranges: Vec<ContextRange>) -> Plan {
        Plan {
            text: String::new(),
            pieces: vec![Piece::Tokens(vec![1; 5])],
            images: vec![ImagePlan {
                used: Size { width: 8, height: 8 },
                tiles: 1,
                pixels: vec![vec![1, 8, 8, 3]],
                layout: Vec::new(),
                features: 4,
            }],
            encoder: None,
            positions: Positions::Sequential,
            marks: Vec::new(),
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Context(ranges),
            stop_tokens: Vec::new(),
            keep_tokens: Vec::new(),
        }
    }

    #[test]
    fn context_is_seen_by_tokens_that_there_are() {
        let range = |tokens: [u32; 2], rows: [u32; 2]| ContextRange {
            from_token: tokens[0],
            to_token: tokens[1],
            from_row: rows[0],
            to_row: rows[1],
        };
        assert_eq!(plan(vec![range([2, 5], [0, 4])]).check(1), Ok(()));
        assert_eq!(
            plan(vec![range([0, 0], [0, 0]), range([4, 5], [3, 4])]).check(1),
            Ok(())
        );
        for (ranges, words) in [
            (vec![], "no token sees any of the 4 rows of context"),
            (
                vec![range([0, 5], [2, 2])],
                "no token sees any of the 4 rows of context",
            ),
            (
                vec![range([5, 5], [0, 4])],
                "no token sees any of the 4 rows of context",
            ),
            (
                vec![range([2, 6], [0, 4])],
                "lies beyond the 5 tokens of the prompt",
            ),
            (vec![range([0, 5], [0, 5])], "lies outside 4 rows of context"),
            (vec![range([0, 5], [3, 2])], "lies outside 4 rows of context"),
            (vec![range([3, 2], [0, 4])], "lies outside 4 rows of context"),
        ] {
            let refusal = plan(ranges.clone()).check(1).expect_err("it is refused");
            assert!(refusal.contains(words), "{ranges:?}: {refusal}");
        }
    }
    /// A prompt of three tokens for a decoder, and one of two words and a picture's four features for an encoder.
    fn with_encoder() -> Plan {
        let slot = Slot {
            image: 0,
            offset: 0,
            tokens: 4,
            token_id: 9,
        };
        Plan {
            pieces: vec![Piece::Tokens(vec![2; 3])],
            encoder: Some(EncoderPlan {
                pieces: vec![Piece::Features(slot), Piece::Tokens(vec![5, 6])],
                positions: Positions::Sequential,
                marks: Vec::new(),
            }),
            feature_use: FeatureUse::Splice,
            ..plan(Vec::new())
        }
    }

    #[test]
    fn an_encoders_prompt_holds_the_features() {
        assert_eq!(with_encoder().check(1), Ok(()));
        let broken = |change: &dyn Fn(&mut Plan, &mut EncoderPlan)| {
            let mut plan = with_encoder();
            let mut encoder = plan.encoder.take().expect("it has one");
            change(&mut plan, &mut encoder);
            plan.encoder = Some(encoder);
            plan.check(1).expect_err("it is refused")
        };
        let empty = broken(&|_, encoder| encoder.pieces.clear());
        assert_eq!(empty, "the encoder's prompt: the prompt has no tokens");
        let twice = broken(&|plan, encoder| plan.pieces.push(encoder.pieces[0].clone()));
        assert!(twice.contains("a slot stands in the decoder's prompt"), "{twice}");
        let unused = broken(&|_, encoder| drop(encoder.pieces.remove(0)));
        assert_eq!(unused, "picture 0: 4 features for 0 image tokens in the prompt");
        let short = broken(&|_, encoder| {
            encoder.positions = Positions::Explicit {
                axes: 1,
                values: vec![0; 5],
                next: 0,
            };
        });
        assert_eq!(short, "the encoder's prompt: 5 positions on 1 axes for 6 tokens");
        let far = broken(&|plan, _| {
            plan.feature_use = FeatureUse::Context(vec![ContextRange {
                from_token: 0,
                to_token: 3,
                from_row: 0,
                to_row: 7,
            }]);
        });
        assert!(far.contains("lies outside 6 rows of context"), "{far}");
    }
}
