//! Between the contract's generated types (version 0.2) and the host's own.

use monocle_text::json_values;
use serde_json::{Map, Value};

use super::bindings::{prompts, types};
use crate::plugin::contract::{
    AnswerPart, AttentionScheme, Content, ContextRange, EncoderPlan, FeatureUse, ImagePlan, Mark, Message,
    ModelFiles, Part, Piece, Place, Plan, PlanRequest, Positions, Rendering, Size, Slot, ToolCall,
};

/// Values of all JSON in one rendering: tools, their calls, variables.
const VALUES: usize = 1 << 17;

/// A JSON object that a plugin wrote.
fn object(what: &str, text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} must be a JSON object: {error}"))
}

/// What a plugin wants rendered; what should be JSON and is none is said.
pub fn rendering_from_plugin(
    request: types::Request,
    options: prompts::RenderOptions,
) -> Result<Rendering, String> {
    let calls = request.messages.iter().flat_map(|message| &message.tool_calls);
    let texts = calls.map(|call| &call.arguments).chain(&request.tools);
    let texts = texts.chain([&request.variables, &options.variables]);
    let values: usize = texts.map(|text| json_values(text.as_bytes())).sum();
    if values > VALUES {
        return Err(format!(
            "the JSON of what is to be rendered has {values} values, more than {VALUES}"
        ));
    }
    let messages: Result<_, _> = request.messages.into_iter().map(message_from_plugin).collect();
    let tools = request.tools.iter().map(|tool| object("a tool", tool));
    Ok(Rendering {
        messages: messages?,
        tools: tools.collect::<Result<_, _>>()?,
        variables: object("`variables` of a request", &request.variables)?,
        own_variables: object("`variables`", &options.variables)?,
        fallback: options.fallback,
    })
}

fn message_from_plugin(message: types::Message) -> Result<Message, String> {
    let content = match message.content {
        types::Content::Text(text) => Content::Text(text),
        types::Content::Parts(parts) => {
            let part = |part| match part {
                types::Part::Text(text) => Part::Text(text),
                types::Part::Medium(index) => Part::Image(index),
            };
            Content::Parts(parts.into_iter().map(part).collect())
        }
    };
    let call = |call: types::ToolCall| {
        Ok(ToolCall {
            id: call.id,
            name: call.name,
            arguments: object("`arguments` of a tool call", &call.arguments)?,
        })
    };
    let calls: Result<_, String> = message.tool_calls.into_iter().map(call).collect();
    Ok(Message {
        role: message.role,
        content,
        reasoning: message.reasoning,
        tool_calls: calls?,
        tool_call: message.tool_call,
        name: message.name,
    })
}

/// A request for a plugin.
pub fn request_to_plugin(request: &PlanRequest) -> types::Request {
    let text = |object: &Map<String, Value>| Value::Object(object.clone()).to_string();
    let size = |size: &Size| {
        types::Medium::Picture(types::Size {
            width: size.width,
            height: size.height,
        })
    };
    let call = |call: &ToolCall| types::ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: text(&call.arguments),
    };
    let part = |part: &Part| match part {
        Part::Text(text) => types::Part::Text(text.clone()),
        Part::Image(index) => types::Part::Medium(*index),
    };
    let message = |message: &Message| types::Message {
        role: message.role.clone(),
        content: match &message.content {
            Content::Text(text) => types::Content::Text(text.clone()),
            Content::Parts(parts) => types::Content::Parts(parts.iter().map(part).collect()),
        },
        reasoning: message.reasoning.clone(),
        tool_calls: message.tool_calls.iter().map(call).collect(),
        tool_call: message.tool_call.clone(),
        name: message.name.clone(),
    };
    types::Request {
        messages: request.messages.iter().map(message).collect(),
        media: request.pictures.iter().map(size).collect(),
        tools: request.tools.iter().map(text).collect(),
        variables: text(&request.variables),
    }
}

/// A piece of an answer that a plugin found.
pub fn part_from_plugin(part: types::AnswerPart) -> AnswerPart {
    let place = |place: types::Place| Place {
        x: place.x,
        y: place.y,
    };
    match part {
        types::AnswerPart::Text(text) => AnswerPart::Text { text },
        types::AnswerPart::Rectangle(part) => AnswerPart::Rectangle {
            medium: part.medium,
            label: part.label,
            upper_left: place(part.upper_left),
            lower_right: place(part.lower_right),
        },
        types::AnswerPart::Point(part) => AnswerPart::Point {
            medium: part.medium,
            label: part.label,
            at: place(part.at),
        },
        types::AnswerPart::Outline(part) => AnswerPart::Outline {
            medium: part.medium,
            label: part.label,
            points: part.points.into_iter().map(place).collect(),
        },
        types::AnswerPart::Label(part) => AnswerPart::Label {
            medium: part.medium,
            label: part.label,
        },
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

/// A plan that a plugin made.
pub fn plan_from_plugin(plan: types::Plan) -> Plan {
    Plan {
        text: plan.text,
        pieces: pieces(plan.pieces),
        images: plan.media.into_iter().map(medium_plan).collect(),
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
            types::AttentionScheme::MediumBlocks => AttentionScheme::ImageBlocks,
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
            image: slot.medium,
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

fn medium_plan(medium: types::MediumPlan) -> ImagePlan {
    ImagePlan {
        used: Size {
            width: medium.used.width,
            height: medium.used.height,
        },
        tiles: medium.pieces,
        pixels: medium
            .tensors
            .into_iter()
            .map(|shape| shape.into_iter().map(|size| size as usize).collect())
            .collect(),
        layout: medium.layout,
        features: medium.features,
    }
}
