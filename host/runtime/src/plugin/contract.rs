//! The contract's data as the host uses it, whatever version a plugin speaks. See `plugin-api/wit` for what it means.

use serde::Serialize;

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
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What it says.
    pub content: Content,
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

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rendered prompt.
    pub text: String,
    /// The prompt in tokens and slots.
    pub pieces: Vec<Piece>,
    /// One a picture.
    pub images: Vec<ImagePlan>,
    /// Where tokens are.
    pub positions: Positions,
    /// Who sees whom.
    pub attention: AttentionScheme,
    /// What becomes of features.
    pub feature_use: FeatureUse,
    /// Further end tokens.
    pub stop_tokens: Vec<u32>,
}

impl Plan {
    /// The ids of all tokens, image tokens at the slots.
    pub fn token_ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Tokens(tokens) => ids.extend_from_slice(tokens),
                Piece::Features(slot) => ids.extend(std::iter::repeat_n(slot.token_id, slot.tokens as usize)),
            }
        }
        ids
    }

    /// Checks that the plan agrees with itself and with a request of so many pictures, before anything is computed.
    pub fn check(&self, images: usize) -> Result<(), String> {
        if self.images.len() != images {
            return Err(format!("planned {} pictures of {images}", self.images.len()));
        }
        // Sizes first: later steps expand slots into lists.
        let limit = 1_u64 << 24;
        let tokens: u64 = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Tokens(tokens) => tokens.len() as u64,
                Piece::Features(slot) => u64::from(slot.tokens),
            })
            .sum();
        if tokens == 0 {
            return Err("the prompt has no tokens".to_owned());
        }
        if tokens > limit {
            return Err(format!(
                "the prompt has {tokens} tokens, more than the {limit} that any may have"
            ));
        }
        for (index, image) in self.images.iter().enumerate() {
            image
                .check_pixels()
                .map_err(|reason| format!("picture {index}: {reason}"))?;
        }
        if let Positions::Explicit { axes, values, .. } = &self.positions
            && (*axes == 0 || *axes > 8 || values.len() as u64 != *axes as u64 * tokens)
        {
            return Err(format!(
                "{} positions on {axes} axes for {tokens} tokens",
                values.len()
            ));
        }
        if let AttentionScheme::Prefix(prefix) = self.attention
            && u64::from(prefix) > tokens
        {
            return Err(format!("a prefix of {prefix} tokens in a prompt of {tokens}"));
        }
        self.check_slots(tokens)
    }

    /// Each feature of each picture must be used once, in order.
    fn check_slots(&self, tokens: u64) -> Result<(), String> {
        let mut used = vec![0_u32; self.images.len()];
        for piece in &self.pieces {
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
        match &self.feature_use {
            FeatureUse::Splice => {
                for (index, (image, used)) in self.images.iter().zip(&used).enumerate() {
                    if image.features != *used {
                        return Err(format!(
                            "picture {index}: {} features for {used} image tokens in the prompt",
                            image.features
                        ));
                    }
                }
                Ok(())
            }
            FeatureUse::Context(ranges) => {
                let rows: u64 = self.images.iter().map(|image| u64::from(image.features)).sum();
                if ranges.len() as u64 > tokens {
                    return Err(format!("{} ranges of context for {tokens} tokens", ranges.len()));
                }
                let outside = ranges.iter().find(|range| {
                    range.from_row > range.to_row
                        || u64::from(range.to_row) > rows
                        || range.from_token > range.to_token
                });
                if let Some(range) = outside {
                    return Err(format!("{range:?} lies outside {rows} rows of context"));
                }
                let reads =
                    |range: &ContextRange| range.from_row < range.to_row && range.from_token < range.to_token;
                if rows > 0 && !ranges.iter().any(reads) {
                    return Err(format!(
                        "no token sees any of the {rows} rows of context that the pictures give"
                    ));
                }
                if let Some(range) = ranges.iter().find(|range| u64::from(range.to_token) > tokens) {
                    return Err(format!("{range:?} lies beyond the {tokens} tokens of the prompt"));
                }
                Ok(())
            }
        }
    }
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
            positions: Positions::Sequential,
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Context(ranges),
            stop_tokens: Vec::new(),
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
}
