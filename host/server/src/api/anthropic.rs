//! Anthropic's messages.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use monocle_runtime::plugin::contract::ToolCall;
use serde_json::{Map, Value, json};

use super::{answered, begin_all, count_of, number_of, stops, text_of};
use crate::app::{App, identity};
use crate::chat::answer::{Answering, Finish, Piece, Summary};
use crate::chat::prepare;
use crate::chat::request::{
    ChatMessage, ChatPart, ChatPicture, ChatRequest, Detail, PictureSource, Sampling, Thinking, ToolChoice,
};
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, Known, json_reply};
use crate::http::stream::{Gone, SILENCE, Writer, stream};
use crate::late::{Last, within};
use crate::models::registry::blocking;

/// The fields that are read.
pub const KNOWN: [&str; 14] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "metadata",
    "mm_processor_kwargs",
];

/// `POST /v1/messages`
pub async fn messages(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    let given = async |body: &Map<String, Value>| {
        let chat = read(body)?;
        if chat.max_tokens.is_none() {
            return Err(Failure::invalid("expected a number of tokens").at("max_tokens"));
        }
        let mut answers = begin_all(&app, chat, key).await?;
        let answering = answers.swap_remove(0);
        if body.get("stream") != Some(&Value::Bool(true)) {
            let model = answering.lease.name.clone();
            return Ok(json_reply(&whole(&model, &answering.whole().await?)));
        }
        let (writer, response) = stream("text/event-stream");
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = write_all(answering, &writer).await;
        });
        Ok(response)
    };
    let known = Known {
        fields: &KNOWN,
        options: &[],
    };
    answered(&app, request, Dialect::Anthropic, known, given).await
}

/// `POST /v1/messages/count_tokens`: beside the engine, and from pictures' headers alone.
pub async fn count_tokens(State(app): State<Arc<App>>, request: Request) -> Response {
    let given = async |body: &Map<String, Value>| {
        let chat = read(body)?;
        let last = Last::of(Instant::now(), app.options.longest);
        let count = within(last, async {
            let lease = app.registry.lease(&chat.model, None).await?;
            let _turn = app.preparing.acquire().await;
            let (engine, there) = (Arc::clone(&lease.engine), Arc::clone(&app));
            blocking(move || {
                let request = prepare::request(&chat, &engine.model, &there.options.pictures, &|| false)?;
                prepare::count(&engine, &chat, &request).map_err(Failure::from)
            })
            .await?
        })
        .await?;
        Ok(json_reply(
            &json!({"input_tokens": count.tokens, "monocle": {"image_tokens": count.image_tokens}}),
        ))
    };
    let known = Known {
        fields: &KNOWN,
        options: &[],
    };
    answered(&app, request, Dialect::Anthropic, known, given).await
}

fn read(body: &Map<String, Value>) -> Result<ChatRequest, Failure> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => return Err(Failure::invalid("expected a list of messages, at least one").at("messages")),
    };
    let mut chat = ChatRequest {
        model: text_of(body, "model").unwrap_or_default().to_owned(),
        max_tokens: count_of(body.get("max_tokens"), "max_tokens")?,
        stop: stops(body.get("stop_sequences"), "stop_sequences")?,
        sampling: Sampling {
            temperature: number_of(body.get("temperature"), "temperature")?,
            top_p: number_of(body.get("top_p"), "top_p")?,
            top_k: count_of(body.get("top_k"), "top_k")?,
            ..Sampling::default()
        },
        count: 1,
        ..ChatRequest::default()
    };
    if let Some(thinking) = body.get("thinking").and_then(Value::as_object) {
        chat.thinking = Thinking {
            enabled: text_of(thinking, "type").map(|kind| kind != "disabled"),
            effort: None,
            budget: count_of(thinking.get("budget_tokens"), "thinking.budget_tokens")?,
        };
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        // Tools that a server runs have a type of their own, and are not ours.
        if tool.get("type").is_none_or(|kind| kind == "custom") {
            let function = json!({
                "name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"],
            });
            let tool = [
                ("type".to_owned(), "function".into()),
                ("function".to_owned(), function),
            ];
            chat.tools.push(tool.into_iter().collect());
        }
    }
    if let Some(choice) = body.get("tool_choice") {
        chat.tool_choice = match choice["type"].as_str() {
            Some("any") => ToolChoice::Required,
            Some("none") => ToolChoice::None,
            Some("tool") => ToolChoice::Named(choice["name"].as_str().unwrap_or_default().to_owned()),
            _ => ToolChoice::Auto,
        };
        chat.parallel_tool_calls = choice["disable_parallel_tool_use"] != Value::Bool(true);
    }
    let pixels = body
        .get("mm_processor_kwargs")
        .and_then(|kwargs| kwargs["max_pixels"].as_u64());
    chat.max_pixels = pixels.filter(|pixels| *pixels > 0);
    if let Some(system) = body.get("system").filter(|value| !value.is_null()) {
        let parts = content(system, "system")?;
        if let Some(ChatPart::Picture(picture)) =
            parts.iter().find(|part| matches!(part, ChatPart::Picture(_)))
        {
            return Err(Failure::invalid("expected a text: pictures stand in messages").at(&picture.path));
        }
        chat.messages.push(ChatMessage {
            role: "system".to_owned(),
            parts,
            ..ChatMessage::default()
        });
    }
    for (index, value) in messages.iter().enumerate() {
        message(value, &format!("messages[{index}]"), &mut chat.messages)?;
    }
    Ok(chat)
}

/// A message; results of tools in it become messages of their own.
fn message(value: &Value, path: &str, into: &mut Vec<ChatMessage>) -> Result<(), Failure> {
    let role = match value["role"].as_str() {
        Some(role @ ("user" | "assistant" | "system")) => role,
        _ => return Err(Failure::invalid("expected user or assistant").at(format!("{path}.role"))),
    };
    let mut said = ChatMessage {
        role: role.to_owned(),
        ..ChatMessage::default()
    };
    let path = format!("{path}.content");
    let Some(blocks) = value["content"].as_array() else {
        said.parts = content(&value["content"], &path)?;
        into.push(said);
        return Ok(());
    };
    for (index, block) in blocks.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match block["type"].as_str() {
            Some("tool_use") => said.tool_calls.push(ToolCall {
                id: block["id"].as_str().map(str::to_owned),
                name: block["name"].as_str().unwrap_or_default().to_owned(),
                arguments: block["input"].as_object().cloned().unwrap_or_default(),
            }),
            Some("tool_result") => into.push(ChatMessage {
                role: "tool".to_owned(),
                parts: content(&block["content"], &format!("{path}.content"))?,
                tool_call: block["tool_use_id"].as_str().map(str::to_owned),
                ..ChatMessage::default()
            }),
            Some("thinking") => said.reasoning = block["thinking"].as_str().map(str::to_owned),
            Some("redacted_thinking") => {}
            _ => said.parts.push(part(block, path)?),
        }
    }
    if !said.parts.is_empty() || !said.tool_calls.is_empty() || said.reasoning.is_some() {
        into.push(said);
    }
    Ok(())
}

fn content(value: &Value, path: &str) -> Result<Vec<ChatPart>, Failure> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![ChatPart::Text(text.clone())]),
        Value::Array(blocks) => {
            let blocks = blocks.iter().enumerate();
            blocks
                .map(|(index, block)| part(block, format!("{path}[{index}]")))
                .collect()
        }
        _ => Err(Failure::invalid("expected a text, or a list of blocks").at(path)),
    }
}

fn part(block: &Value, path: String) -> Result<ChatPart, Failure> {
    match block["type"].as_str() {
        Some("text") => match block["text"].as_str() {
            Some(text) => Ok(ChatPart::Text(text.to_owned())),
            None => Err(Failure::invalid("expected a text").at(format!("{path}.text"))),
        },
        Some("image") => {
            let source = &block["source"];
            let text = |name: &str| source[name].as_str().map(str::to_owned);
            let found = match source["type"].as_str() {
                Some("base64") => text("data").map(PictureSource::Base64),
                Some("url") => text("url").map(PictureSource::Address),
                _ => None,
            };
            let Some(source) = found else {
                let message = "expected a source of type base64 with `data`, or of type url; there is no store of files here";
                return Err(Failure::invalid(message).at(format!("{path}.source")));
            };
            Ok(ChatPart::Picture(ChatPicture {
                source,
                detail: Detail::Model,
                path,
            }))
        }
        other => {
            let other: String = other.unwrap_or("nothing").chars().take(40).collect();
            Err(Failure::invalid(format!("expected a block of type text or image, found `{other}`")).at(path))
        }
    }
}

fn stop_reason(finish: &Finish) -> (&'static str, Value) {
    match finish {
        Finish::Stop => ("end_turn", Value::Null),
        Finish::Calls => ("tool_use", Value::Null),
        Finish::StopString(stop) => ("stop_sequence", stop.clone().into()),
        Finish::Length => ("max_tokens", Value::Null),
        Finish::Context => ("model_context_window_exceeded", Value::Null),
    }
}

fn usage(prompt: usize, cached: usize, answer: usize) -> Value {
    json!({
        "input_tokens": prompt - cached.min(prompt), "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0,
        "output_tokens": answer,
    })
}

fn whole(model: &str, summary: &Summary) -> Value {
    let mut content = Vec::new();
    if !summary.reasoning.is_empty() {
        content.push(json!({"type": "thinking", "thinking": summary.reasoning, "signature": ""}));
    }
    if !summary.text.is_empty() {
        content.push(json!({"type": "text", "text": summary.text}));
    }
    for call in &summary.calls {
        content.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}));
    }
    let (reason, sequence) = stop_reason(&summary.finish);
    json!({
        "id": identity("msg_"), "type": "message", "role": "assistant", "model": model, "content": content, "stop_reason": reason,
        "stop_sequence": sequence, "usage": usage(summary.usage.prompt, summary.usage.cached, summary.usage.answer),
        "monocle": summary.account(),
    })
}

async fn write_all(mut answering: Answering, writer: &Writer) -> Result<(), Gone> {
    let model = answering.lease.name.clone();
    let message = json!({
        "id": identity("msg_"), "type": "message", "role": "assistant", "model": model, "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": usage(answering.prompt_tokens, 0, 0),
    });
    writer
        .event(
            "message_start",
            &json!({"type": "message_start", "message": message}),
        )
        .await?;
    writer.event("ping", &json!({"type": "ping"})).await?;
    // Whether the block that is open is thinking.
    let mut open: Option<bool> = None;
    // The number of the block that is open, or comes next.
    let mut index = 0;
    loop {
        let piece = tokio::select! {
            piece = answering.next() => piece,
            () = writer.gone() => return Err(Gone),
            () = tokio::time::sleep(SILENCE) => {
                writer.event("ping", &json!({"type": "ping"})).await?;
                continue;
            }
        };
        let (thinks, text) = match piece {
            Some(Piece::Text(text)) => (false, text),
            Some(Piece::Reasoning(text)) => (true, text),
            Some(Piece::Logprobs(_)) => continue,
            Some(Piece::Call(call)) => {
                if open.take().is_some() {
                    let stop = json!({"type": "content_block_stop", "index": index});
                    writer.event("content_block_stop", &stop).await?;
                    index += 1;
                }
                let block = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}});
                let arguments = Value::Object(call.arguments).to_string();
                let delta = json!({"type": "input_json_delta", "partial_json": arguments});
                for (name, event) in [
                    ("content_block_start", json!({"content_block": block})),
                    ("content_block_delta", json!({"delta": delta})),
                    ("content_block_stop", json!({})),
                ] {
                    let mut event = event;
                    event["type"] = name.into();
                    event["index"] = index.into();
                    writer.event(name, &event).await?;
                }
                index += 1;
                continue;
            }
            Some(Piece::Done(summary)) => {
                if open.is_some() {
                    let stop = json!({"type": "content_block_stop", "index": index});
                    writer.event("content_block_stop", &stop).await?;
                }
                let (reason, sequence) = stop_reason(&summary.finish);
                let delta = json!({
                    "type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence},
                    "usage": usage(summary.usage.prompt, summary.usage.cached, summary.usage.answer),
                    "monocle": summary.account(),
                });
                writer.event("message_delta", &delta).await?;
                return writer
                    .event("message_stop", &json!({"type": "message_stop"}))
                    .await;
            }
            Some(Piece::Failed(failure)) => {
                return writer.event("error", &Dialect::Anthropic.error(&failure)).await;
            }
            None => return Ok(()),
        };
        if open != Some(thinks) {
            if open.is_some() {
                let stop = json!({"type": "content_block_stop", "index": index});
                writer.event("content_block_stop", &stop).await?;
                index += 1;
            }
            let block = match thinks {
                true => json!({"type": "thinking", "thinking": "", "signature": ""}),
                false => json!({"type": "text", "text": ""}),
            };
            let start = json!({"type": "content_block_start", "index": index, "content_block": block});
            writer.event("content_block_start", &start).await?;
            open = Some(thinks);
        }
        let delta = match thinks {
            true => json!({"type": "thinking_delta", "thinking": text}),
            false => json!({"type": "text_delta", "text": text}),
        };
        let event = json!({"type": "content_block_delta", "index": index, "delta": delta});
        writer.event("content_block_delta", &event).await?;
    }
}
