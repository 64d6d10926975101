//! Between the contract's generated types (version 0.2) and the host's own.

use super::bindings::monocle::plugin::types;
use crate::plugin::contract::{
    AttentionScheme, Content, ContextRange, EncoderPlan, FeatureUse, ImagePlan, Mark, Message, ModelFiles,
    Part, Piece, Plan, Positions, Size, Slot,
};

/// A message that a plugin hands over.
pub fn message_from_plugin(message: types::Message) -> Message {
    let content = match message.content {
        types::Content::Text(text) => Content::Text(text),
        types::Content::Parts(parts) => Content::Parts(
            parts
                .into_iter()
                .map(|part| match part {
                    types::Part::Text(text) => Part::Text(text),
                    types::Part::Image(index) => Part::Image(index),
                })
                .collect(),
        ),
    };
    Message {
        role: message.role,
        content,
    }
}

/// A message for a plugin.
pub fn message_to_plugin(message: &Message) -> types::Message {
    let content = match &message.content {
        Content::Text(text) => types::Content::Text(text.clone()),
        Content::Parts(parts) => types::Content::Parts(
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => types::Part::Text(text.clone()),
                    Part::Image(index) => types::Part::Image(*index),
                })
                .collect(),
        ),
    };
    types::Message {
        role: message.role.clone(),
        content,
    }
}

/// A model's files for a plugin.
pub fn files_to_plugin(files: &ModelFiles) -> types::ModelFiles {
    types::ModelFiles {
        config: files.config.clone(),
        preprocessor: files.preprocessor.clone(),
        processor: files.processor.clone(),
        generation: files.generation.clone(),
        options: files.options.clone(),
    }
}

/// A picture's size for a plugin.
pub fn size_to_plugin(size: Size) -> types::Size {
    types::Size {
        width: size.width,
        height: size.height,
    }
}

/// A plan that a plugin made.
pub fn plan_from_plugin(plan: types::Plan) -> Plan {
    Plan {
        text: plan.text,
        pieces: pieces(plan.pieces),
        images: plan.images.into_iter().map(image_plan).collect(),
        encoder: plan.encoder.map(|encoder| EncoderPlan {
            pieces: pieces(encoder.pieces),
            positions: positions(encoder.positions),
            marks: marks(encoder.marks),
        }),
        positions: positions(plan.positions),
        marks: marks(plan.marks),
        attention: match plan.attention {
            types::AttentionScheme::Causal => AttentionScheme::Causal,
            types::AttentionScheme::Prefix(tokens) => AttentionScheme::Prefix(tokens),
            types::AttentionScheme::ImageBlocks => AttentionScheme::ImageBlocks,
        },
        feature_use: match plan.feature_use {
            types::FeatureUse::Splice => FeatureUse::Splice,
            types::FeatureUse::Context(ranges) => FeatureUse::Context(
                ranges
                    .into_iter()
                    .map(|range| ContextRange {
                        from_token: range.from_token,
                        to_token: range.to_token,
                        from_row: range.from_row,
                        to_row: range.to_row,
                    })
                    .collect(),
            ),
        },
        stop_tokens: plan.stop_tokens,
        keep_tokens: plan.keep_tokens,
    }
}

fn pieces(pieces: Vec<types::Piece>) -> Vec<Piece> {
    let piece = |piece| match piece {
        types::Piece::Tokens(tokens) => Piece::Tokens(tokens),
        types::Piece::Features(slot) => Piece::Features(Slot {
            image: slot.image,
            offset: slot.offset,
            tokens: slot.tokens,
            token_id: slot.token_id,
        }),
    };
    pieces.into_iter().map(piece).collect()
}

fn positions(positions: types::PositionScheme) -> Positions {
    match positions {
        types::PositionScheme::Sequential => Positions::Sequential,
        types::PositionScheme::Explicit(explicit) => Positions::Explicit {
            axes: explicit.axes as usize,
            values: explicit.values,
            next: explicit.next,
        },
    }
}

fn marks(marks: Vec<types::Mark>) -> Vec<Mark> {
    let mark = |mark: types::Mark| Mark {
        name: mark.name,
        values: mark.values,
        generated: mark.generated,
    };
    marks.into_iter().map(mark).collect()
}

fn image_plan(image: types::ImagePlan) -> ImagePlan {
    ImagePlan {
        used: Size {
            width: image.used.width,
            height: image.used.height,
        },
        tiles: image.tiles,
        pixels: image
            .pixels
            .into_iter()
            .map(|shape| shape.into_iter().map(|size| size as usize).collect())
            .collect(),
        layout: image.layout,
        features: image.features,
    }
}
