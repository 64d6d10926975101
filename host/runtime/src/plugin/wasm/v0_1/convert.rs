//! Between the contract's generated types (version 0.1) and the host's own.

use super::bindings::monocle::plugin::types;
use crate::plugin::contract::{
    AttentionScheme, Content, ContextRange, FeatureUse, ImagePlan, Message, ModelFiles, Part, Piece, Plan,
    Positions, Size, Slot,
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
    Message::new(message.role, content)
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
        pieces: plan
            .pieces
            .into_iter()
            .map(|piece| match piece {
                types::Piece::Tokens(tokens) => Piece::Tokens(tokens),
                types::Piece::Features(slot) => Piece::Features(Slot {
                    image: slot.image,
                    offset: slot.offset,
                    tokens: slot.tokens,
                    token_id: slot.token_id,
                }),
            })
            .collect(),
        images: plan.images.into_iter().map(image_plan).collect(),
        encoder: None,
        positions: match plan.positions {
            types::PositionScheme::Sequential => Positions::Sequential,
            types::PositionScheme::Explicit(explicit) => Positions::Explicit {
                axes: explicit.axes as usize,
                values: explicit.values,
                next: explicit.next,
            },
        },
        marks: Vec::new(),
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
        keep_tokens: Vec::new(),
    }
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
