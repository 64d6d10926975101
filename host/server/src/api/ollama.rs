//! Ollama's chats, and its questions about one prompt. Streams are lines of JSON, and are the default.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::openai_read::tool_call;
use super::{answered, begin_all, count_of, number_of, seed_of, stops, text_of};
use crate::app::{App, now, timestamp};
use crate::chat::answer::{Answering, Call, Finish, Piece, Summary};
use crate::chat::request::{
    ChatMessage, ChatPart, ChatPicture, ChatRequest, Detail, Format, PictureSource, Sampling, Thinking,
};
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, Known, json_reply};
use crate::http::stream::{Gone, SILENCE, Writer, stream};
use crate::models::keep::KeepAlive;

/// The fields that are read.
pub const KNOWN: [&str; 13] = [
    "model",
    "messages",
    "prompt",
    "system",
    "images",
    "stream",
    "format",
    "options",
    "think",
    "keep_alive",
    "tools",
    "raw",
    "max_pixels",
];

/// Those of `options`.
pub const OPTIONS: [&str; 10] = [
    "num_predict",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "seed",
    "stop",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
];

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Chat,
    Generate,
}

/// `POST /api/chat`
pub async fn chat(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    answer(app, key, request, Shape::Chat).await
}

/// `POST /api/generate`
pub async fn generate(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    answer(app, key, request, Shape::Generate).await
}

async fn answer(app: Arc<App>, key: KeyNumber, request: Request, shape: Shape) -> Response {
    let given = async |body: &Map<String, Value>| given(&app, key, body, shape).await;
    let known = Known {
        fields: &KNOWN,
        options: &OPTIONS,
    };
    answered(&app, request, Dialect::Ollama, known, given).await
}

async fn given(
    app: &Arc<App>,
    key: KeyNumber,
    body: &Map<String, Value>,
    shape: Shape,
) -> Result<Response, Failure> {
    let chat = read(body, shape)?;
    if chat.messages.is_empty() {
        // To load a model, or to let it go.
        let keep = chat.keep_alive;
        let lease = app.registry.lease(&chat.model, keep).await?;
        let name = lease.name.clone();
        drop(lease);
        app.registry.expire().await;
        let reason = match keep {
            Some(KeepAlive::For(time)) if time.is_zero() => "unload",
            _ => "load",
        };
        let mut line = line(shape, &name, "", "");
        line["done"] = true.into();
        line["done_reason"] = reason.into();
        return Ok(json_reply(&line));
    }
    let mut answers = begin_all(app, chat, key).await?;
    let answering = answers.swap_remove(0);
    if body.get("stream") != Some(&Value::Bool(false)) {
        let (writer, response) = stream("application/x-ndjson");
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = write_all(shape, answering, &writer).await;
        });
        return Ok(response);
    }
    let model = answering.lease.name.clone();
    let summary = answering.whole().await?;
    let mut line = line(shape, &model, &summary.text, &summary.reasoning);
    if !summary.calls.is_empty() {
        line["message"]["tool_calls"] = summary.calls.iter().map(tool_call_json).collect();
    }
    Ok(json_reply(&last(line, &summary)))
}

fn read(body: &Map<String, Value>, shape: Shape) -> Result<ChatRequest, Failure> {
    let Some(model) = text_of(body, "model").filter(|model| !model.is_empty()) else {
        return Err(Failure::invalid("model is required").at("model"));
    };
    let none = Map::new();
    let options = match body.get("options") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(options)) => options,
        Some(_) => return Err(Failure::invalid("expected an object").at("options")),
    };
    let number = |name: &str| number_of(options.get(name), &format!("options.{name}"));
    let whole = |name: &str| count_of(options.get(name), &format!("options.{name}"));
    let thinking = match body.get("think") {
        None | Some(Value::Null) => Thinking::default(),
        Some(Value::Bool(enabled)) => Thinking {
            enabled: Some(*enabled),
            ..Thinking::default()
        },
        Some(Value::String(word)) => match word.as_str() {
            // Some send the words for the booleans.
            "true" => Thinking {
                enabled: Some(true),
                ..Thinking::default()
            },
            "" => Thinking::default(),
            "false" | "none" => Thinking {
                enabled: Some(false),
                ..Thinking::default()
            },
            effort => Thinking {
                enabled: Some(true),
                effort: Some(effort.to_owned()),
                budget: None,
            },
        },
        Some(_) => return Err(Failure::invalid("expected true, false, low, medium, high or max").at("think")),
    };
    let format = match body.get("format") {
        None | Some(Value::Null) => Format::Text,
        Some(Value::String(word)) if word.is_empty() => Format::Text,
        Some(Value::String(word)) if word == "json" => Format::JsonObject,
        Some(schema @ Value::Object(_)) => Format::JsonSchema {
            schema: schema.clone(),
            strict: false,
        },
        Some(_) => return Err(Failure::invalid("expected `json` or a JSON schema").at("format")),
    };
    let keep_alive = match body.get("keep_alive") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            KeepAlive::parse(value)
                .ok_or_else(|| Failure::invalid("expected a duration, like `5m` or 300").at("keep_alive"))?,
        ),
    };
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let mut chat = ChatRequest {
        model: model.to_owned(),
        sampling: Sampling {
            temperature: number("temperature")?,
            top_k: whole("top_k")?,
            top_p: number("top_p")?,
            min_p: number("min_p")?,
            repetition_penalty: number("repeat_penalty")?,
            presence_penalty: number("presence_penalty")?,
            frequency_penalty: number("frequency_penalty")?,
            seed: seed_of(options.get("seed"), "options.seed")?,
            ..Sampling::default()
        },
        max_tokens: whole("num_predict")?,
        stop: stops(options.get("stop"), "options.stop")?,
        tools: tools.filter_map(Value::as_object).cloned().collect(),
        max_pixels: body
            .get("max_pixels")
            .and_then(Value::as_u64)
            .filter(|pixels| *pixels > 0),
        count: 1,
        thinking,
        format,
        keep_alive,
        ..ChatRequest::default()
    };
    match shape {
        Shape::Generate => {
            let prompt = text_of(body, "prompt").unwrap_or_default();
            let images = images(body.get("images"), "images")?;
            chat.raw = body.get("raw") == Some(&Value::Bool(true));
            if prompt.is_empty() && images.is_empty() {
                return Ok(chat);
            }
            if let Some(system) = text_of(body, "system").filter(|system| !system.is_empty() && !chat.raw) {
                chat.messages.push(ChatMessage::text("system", system));
            }
            chat.messages.push(ChatMessage {
                role: "user".to_owned(),
                parts: in_places(prompt, images),
                ..ChatMessage::default()
            });
        }
        Shape::Chat => {
            let messages = match body.get("messages") {
                None | Some(Value::Null) => return Ok(chat),
                Some(Value::Array(messages)) => messages,
                Some(_) => return Err(Failure::invalid("expected a list of messages").at("messages")),
            };
            for (index, value) in messages.iter().enumerate() {
                chat.messages.push(message(value, &format!("messages[{index}]"))?);
            }
        }
    }
    Ok(chat)
}

fn message(value: &Value, path: &str) -> Result<ChatMessage, Failure> {
    let role = match value["role"].as_str() {
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        _ => {
            let expected = "expected one of system, user, assistant, tool";
            return Err(Failure::invalid(expected).at(format!("{path}.role")));
        }
    };
    let text = match &value["content"] {
        Value::Null => "",
        Value::String(text) => text,
        _ => return Err(Failure::invalid("expected a text").at(format!("{path}.content"))),
    };
    let images = images(value.get("images"), &format!("{path}.images"))?;
    let calls = value["tool_calls"].as_array().into_iter().flatten().enumerate();
    let text_at = |name: &str| value[name].as_str().map(str::to_owned);
    Ok(ChatMessage {
        role: role.to_owned(),
        parts: in_places(text, images),
        reasoning: text_at("thinking"),
        tool_calls: calls
            .map(|(index, call)| tool_call(call, &format!("{path}.tool_calls[{index}]")))
            .collect::<Result<_, _>>()?,
        tool_call: text_at("tool_call_id"),
        name: text_at("tool_name").or_else(|| text_at("name")),
    })
}

fn images(value: Option<&Value>, path: &str) -> Result<Vec<ChatPicture>, Failure> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Failure::invalid("expected a list of pictures in base 64").at(path)),
    };
    let read = list.iter().enumerate().map(|(index, value)| {
        let path = format!("{path}[{index}]");
        let Some(text) = value.as_str() else {
            return Err(Failure::invalid("expected a picture in base 64").at(path));
        };
        let source = match text
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("data:"))
        {
            true => PictureSource::Address(text.to_owned()),
            false => PictureSource::Base64(text.to_owned()),
        };
        Ok(ChatPicture {
            source,
            detail: Detail::Model,
            path,
        })
    });
    read.collect()
}

/// `[img]` and `[img-0]` say where a picture goes; the others go before the text.
fn in_places(text: &str, images: Vec<ChatPicture>) -> Vec<ChatPart> {
    let mut images: Vec<Option<ChatPicture>> = images.into_iter().map(Some).collect();
    let mut placed = Vec::new();
    let (mut rest, mut words) = (text, String::new());
    while let Some(at) = rest.find("[img") {
        let end = rest[at..].find(']').map(|end| at + end);
        let number = end.and_then(|end| match rest[at + 4..end].strip_prefix('-') {
            Some(number) => number.parse::<usize>().ok(),
            None if rest[at + 4..end].is_empty() => images.iter().position(Option::is_some),
            None => None,
        });
        let picture = number
            .and_then(|number| images.get_mut(number))
            .and_then(Option::take);
        match (picture, end) {
            (Some(picture), Some(end)) => {
                words.push_str(&rest[..at]);
                if !words.is_empty() {
                    placed.push(ChatPart::Text(std::mem::take(&mut words)));
                }
                placed.push(ChatPart::Picture(picture));
                rest = &rest[end + 1..];
            }
            _ => {
                words.push_str(&rest[..at + 4]);
                rest = &rest[at + 4..];
            }
        }
    }
    words.push_str(rest);
    if !words.is_empty() {
        placed.push(ChatPart::Text(words));
    }
    let others = images.into_iter().flatten().map(ChatPart::Picture);
    others.chain(placed).collect()
}

fn line(shape: Shape, model: &str, text: &str, thinking: &str) -> Value {
    let mut line = json!({"model": model, "created_at": timestamp(now())});
    match shape {
        Shape::Chat => {
            line["message"] = json!({"role": "assistant", "content": text});
            if !thinking.is_empty() {
                line["message"]["thinking"] = thinking.into();
            }
        }
        Shape::Generate => {
            line["response"] = text.into();
            if !thinking.is_empty() {
                line["thinking"] = thinking.into();
            }
        }
    }
    line["done"] = false.into();
    line
}

/// Arguments are an object here.
fn tool_call_json(call: &Call) -> Value {
    json!({"id": call.id, "function": {"name": call.name, "arguments": call.arguments}})
}

fn last(mut line: Value, summary: &Summary) -> Value {
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let timings = &summary.report.timings;
    line["done"] = true.into();
    line["done_reason"] = match summary.finish {
        Finish::Stop | Finish::Calls | Finish::StopString(_) => "stop".into(),
        Finish::Length | Finish::Context => "length".into(),
    };
    line["total_duration"] = nanoseconds(timings.total).into();
    line["load_duration"] = nanoseconds(timings.load).into();
    line["prompt_eval_count"] = summary.usage.prompt.into();
    line["prompt_eval_duration"] = nanoseconds(timings.encode + timings.prefill).into();
    line["eval_count"] = summary.usage.answer.into();
    line["eval_duration"] = nanoseconds(timings.decode).into();
    line["monocle"] = summary.account();
    line
}

async fn write_all(shape: Shape, mut answering: Answering, writer: &Writer) -> Result<(), Gone> {
    let model = answering.lease.name.clone();
    loop {
        let piece = tokio::select! {
            piece = answering.next() => piece,
            () = writer.gone() => return Err(Gone),
            () = tokio::time::sleep(SILENCE) => {
                // A blank line would break clients; an empty piece does not.
                writer.line(&line(shape, &model, "", "")).await?;
                continue;
            }
        };
        match piece {
            Some(Piece::Text(text)) => writer.line(&line(shape, &model, &text, "")).await?,
            Some(Piece::Reasoning(text)) => writer.line(&line(shape, &model, "", &text)).await?,
            Some(Piece::Logprobs(_)) => {}
            Some(Piece::Call(call)) => {
                let mut line = line(shape, &model, "", "");
                line["message"]["tool_calls"] = json!([tool_call_json(&call)]);
                writer.line(&line).await?;
            }
            Some(Piece::Done(summary)) => {
                return writer.line(&last(line(shape, &model, "", ""), &summary)).await;
            }
            Some(Piece::Failed(failure)) => return writer.line(&Dialect::Ollama.error(&failure)).await,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, count: usize) -> String {
        let picture = |number: usize| ChatPicture {
            source: PictureSource::Base64(String::new()),
            detail: Detail::Model,
            path: number.to_string(),
        };
        let parts = in_places(text, (0..count).map(picture).collect());
        let parts = parts.into_iter().map(|part| match part {
            ChatPart::Text(text) => text,
            ChatPart::Picture(picture) => format!("<{}>", picture.path),
        });
        parts.collect()
    }

    #[test]
    fn marks_say_where_pictures_go() {
        assert_eq!(shown("a", 2), "<0><1>a");
        assert_eq!(shown("a [img] b [img] c", 2), "a <0> b <1> c");
        assert_eq!(shown("a [img-1] b [img-0]", 2), "a <1> b <0>");
        assert_eq!(shown("a [img]", 2), "<1>a <0>");
        assert_eq!(shown("[img] and [img]", 1), "<0> and [img]");
        assert_eq!(shown("[imgs] [img-9] [img", 1), "<0>[imgs] [img-9] [img");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "(\\[img\\]|\\[img-[0-9]\\]|[a-c ü\\[\\]]){0,12}", count in 0usize..4) {
            let shown = shown(&text, count);
            for number in 0..count {
                prop_assert_eq!(shown.matches(&format!("<{number}>")).count(), 1);
            }
        }
    }
}
