//! Plans, put together part by part.

use super::shown;
use crate::{
    AttentionScheme, ContextRange, EncoderPlan, FeatureUse, Mark, MediumPlan, Piece, Plan, PositionScheme,
    tokenizer,
};

impl Plan {
    /// A plan with sequential positions and causal attention, whose features take the place of embeddings. `text` is the prompt as rendered.
    pub fn new(text: &str, pieces: Vec<Piece>, media: Vec<MediumPlan>) -> Self {
        Self {
            text: shown(text).into_owned(),
            pieces,
            media,
            encoder: None,
            positions: PositionScheme::Sequential,
            marks: vec![],
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Splice,
            stop_tokens: vec![],
            keep_tokens: vec![],
        }
    }

    /// How many tokens the prompt has.
    pub fn tokens(&self) -> u32 {
        tokens(&self.pieces)
    }

    /// Features are read by cross attention: which rows of context each range of tokens sees. The prompt has no slots.
    #[must_use]
    pub fn with_context(mut self, ranges: Vec<ContextRange>) -> Self {
        self.feature_use = FeatureUse::Context(ranges);
        self
    }

    /// An encoder reads these pieces, and the decoder begins with the plan's.
    #[must_use]
    pub fn with_encoder(mut self, pieces: Vec<Piece>) -> Self {
        self.encoder = Some(EncoderPlan {
            pieces,
            positions: PositionScheme::Sequential,
            marks: vec![],
        });
        self
    }

    /// A number for each token of the prompt, and one for every token that is generated.
    #[must_use]
    pub fn with_mark(mut self, name: &str, values: Vec<i32>, generated: i32) -> Self {
        self.marks.push(Mark {
            name: name.to_owned(),
            values,
            generated,
        });
        self
    }

    /// Tokens that end the output, besides those that the model's files name; what the vocabulary lacks is left out.
    #[must_use]
    pub fn stop_at(mut self, stops: &[&str]) -> Self {
        self.stop_tokens
            .extend(stops.iter().filter_map(|token| tokenizer::find(token)));
        self
    }
}

/// How many tokens these pieces have.
fn tokens(pieces: &[Piece]) -> u32 {
    let tokens = pieces.iter().map(|piece| match piece {
        Piece::Tokens(ids) => ids.len() as u32,
        Piece::Features(slot) => slot.tokens,
    });
    tokens.sum()
}
