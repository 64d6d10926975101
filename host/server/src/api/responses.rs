//! OpenAI's responses. Nothing is kept between requests, so each brings its whole history.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{answered, begin_all, count_of, openai_read, text_of};
use crate::app::{App, identity, now};
use crate::chat::answer::{Answering, Call, Finish, Piece, Summary, Usage};
use crate::chat::request::{ChatMessage, ChatRequest, Format};
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, Known, json_reply};
use crate::http::stream::{Gone, SILENCE, Writer, stream};

/// The fields that are read.
pub const KNOWN: [&str; 26] = [
    "model",
    "input",
    "instructions",
    "stream",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "previous_response_id",
    "conversation",
    "store",
    "metadata",
    "service_tier",
    "keep_alive",
    "chat_template_kwargs",
    "mm_processor_kwargs",
    "user",
];

/// `POST /v1/responses`
pub async fn responses(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    let given = async |body: &Map<String, Value>| {
        let mut answers = begin_all(&app, read(body)?, key).await?;
        let answering = answers.swap_remove(0);
        let head = Head {
            id: identity("resp_"),
            message: identity("msg_"),
            reasoning: identity("rs_"),
            created: now(),
            model: answering.lease.name.clone(),
        };
        if body.get("stream") != Some(&Value::Bool(true)) {
            return Ok(json_reply(&head.whole(&answering.whole().await?)));
        }
        let (writer, response) = stream("text/event-stream");
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = Events::new(head, &writer).write_all(answering).await;
        });
        Ok(response)
    };
    let known = Known {
        fields: &KNOWN,
        options: &[],
    };
    answered(&app, request, Dialect::OpenAi, known, given).await
}

fn read(body: &Map<String, Value>) -> Result<ChatRequest, Failure> {
    for kept in ["previous_response_id", "conversation"] {
        if body.get(kept).is_some_and(|value| !value.is_null()) {
            let message = "no answers are kept here: send the whole conversation in `input`";
            return Err(Failure::invalid(message).at(kept));
        }
    }
    // What the two interfaces have in common is read once; tools are written flat here.
    let mut common = body.clone();
    common.retain(|name, _| KNOWN.contains(&name.as_str()));
    if let Some(Value::Array(tools)) = common.get_mut("tools") {
        for tool in tools.iter_mut().filter(|tool| tool["type"] == "function") {
            let function = json!({
                "name": tool["name"], "description": tool["description"], "parameters": tool["parameters"],
            });
            *tool = json!({"type": "function", "function": function});
        }
    }
    let mut chat = openai_read::common(&common)?;
    chat.max_tokens = count_of(body.get("max_output_tokens"), "max_output_tokens")?;
    let effort = body
        .get("reasoning")
        .and_then(|reasoning| reasoning["effort"].as_str());
    if let Some(effort) = effort {
        chat.thinking.enabled = Some(effort != "none");
        chat.thinking.effort = (effort != "none").then(|| effort.to_owned());
    }
    chat.format = match body.get("text").map(|text| &text["format"]) {
        Some(format) if format["type"] == "json_object" => Format::JsonObject,
        Some(format) if format["type"] == "json_schema" => Format::JsonSchema {
            schema: format["schema"].clone(),
            strict: format["strict"] == Value::Bool(true),
        },
        _ => Format::Text,
    };
    if let Some(instructions) = text_of(body, "instructions").filter(|text| !text.is_empty()) {
        chat.messages.push(ChatMessage::text("system", instructions));
    }
    match body.get("input") {
        Some(Value::String(text)) => chat.messages.push(ChatMessage::text("user", text.as_str())),
        Some(Value::Array(items)) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                item(value, &format!("input[{index}]"), &mut chat.messages)?;
            }
        }
        _ => return Err(Failure::invalid("expected a text, or a list of items").at("input")),
    }
    Ok(chat)
}

/// An item of the history. Kinds that mean nothing to a model here are left out.
fn item(value: &Value, path: &str, into: &mut Vec<ChatMessage>) -> Result<(), Failure> {
    match value["type"].as_str() {
        None | Some("message") => into.push(openai_read::message(value, path)?),
        Some("function_call") => {
            let call = json!({
                "id": value["call_id"], "function": {"name": value["name"], "arguments": value["arguments"]},
            });
            let call = openai_read::tool_call(&call, path)?;
            match into.last_mut().filter(|last| last.role == "assistant") {
                Some(last) => last.tool_calls.push(call),
                None => into.push(ChatMessage {
                    role: "assistant".to_owned(),
                    tool_calls: vec![call],
                    ..ChatMessage::default()
                }),
            }
        }
        Some("function_call_output") => into.push(ChatMessage {
            role: "tool".to_owned(),
            parts: openai_read::content(value.get("output"), &format!("{path}.output"))?,
            tool_call: value["call_id"].as_str().map(str::to_owned),
            ..ChatMessage::default()
        }),
        Some(_) => {}
    }
    Ok(())
}

struct Head {
    id: String,
    message: String,
    reasoning: String,
    created: u64,
    model: String,
}

impl Head {
    fn response(&self, status: &str) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "model": self.model, "status": status, "output": [],
            "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
            "temperature": null, "top_p": null, "tool_choice": "auto", "tools": [], "store": false, "usage": null,
        })
    }

    fn reasoning_item(&self, text: &str) -> Value {
        json!({
            "type": "reasoning", "id": self.reasoning, "summary": [],
            "content": [{"type": "reasoning_text", "text": text}],
        })
    }

    fn message_item(&self, text: &str, status: &str) -> Value {
        json!({
            "type": "message", "id": self.message, "role": "assistant", "status": status, "content": [part(text)],
        })
    }

    fn whole(&self, summary: &Summary) -> Value {
        let short = matches!(summary.finish, Finish::Length | Finish::Context);
        let status = if short { "incomplete" } else { "completed" };
        let mut response = self.response(status);
        if short {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        let mut output = Vec::new();
        if !summary.reasoning.is_empty() {
            output.push(self.reasoning_item(&summary.reasoning));
        }
        if !summary.text.is_empty() || summary.calls.is_empty() {
            output.push(self.message_item(&summary.text, status));
        }
        output.extend(summary.calls.iter().map(|call| call_item(call, "completed")));
        response["output"] = Value::Array(output);
        response["usage"] = usage(&summary.usage);
        response["monocle"] = summary.account();
        response
    }
}

fn call_item(call: &Call, status: &str) -> Value {
    let arguments = match status {
        "completed" => Value::Object(call.arguments.clone()).to_string(),
        _ => String::new(),
    };
    json!({
        "type": "function_call", "id": format!("fc_{}", call.id), "call_id": call.id, "name": call.name,
        "arguments": arguments, "status": status,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.answer, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.answer,
    })
}

/// The events of a stream, numbered.
struct Events<'a> {
    head: Head,
    writer: &'a Writer,
    number: u64,
    /// Items that came before the one that is open.
    items: usize,
}

impl<'a> Events<'a> {
    fn new(head: Head, writer: &'a Writer) -> Self {
        Self {
            head,
            writer,
            number: 0,
            items: 0,
        }
    }

    async fn event(&mut self, name: &str, mut data: Value) -> Result<(), Gone> {
        data["type"] = name.into();
        data["sequence_number"] = self.number.into();
        self.number += 1;
        self.writer.event(name, &data).await
    }

    async fn write_all(mut self, mut answering: Answering) -> Result<(), Gone> {
        for name in ["response.created", "response.in_progress"] {
            let response = self.head.response("in_progress");
            self.event(name, json!({"response": response})).await?;
        }
        let (mut text, mut reasoning) = (String::new(), String::new());
        let (mut begun, mut message_is_over) = (false, false);
        loop {
            let piece = tokio::select! {
                piece = answering.next() => piece,
                () = self.writer.gone() => return Err(Gone),
                () = tokio::time::sleep(SILENCE) => {
                    self.writer.write(": still there\n\n".to_owned()).await?;
                    continue;
                }
            };
            match piece {
                Some(Piece::Reasoning(delta)) => {
                    let id = self.head.reasoning.clone();
                    if reasoning.is_empty() {
                        let item = json!({"type": "reasoning", "id": id, "summary": [], "content": []});
                        let added = json!({"output_index": 0, "item": item});
                        self.event("response.output_item.added", added).await?;
                    }
                    reasoning += &delta;
                    let event = json!({"item_id": id, "output_index": 0, "content_index": 0, "delta": delta});
                    self.event("response.reasoning_text.delta", event).await?;
                }
                Some(Piece::Text(delta)) => {
                    self.begin(&mut begun, &reasoning).await?;
                    text += &delta;
                    let event = json!({
                        "item_id": self.head.message, "output_index": self.items, "content_index": 0, "delta": delta,
                        "logprobs": [],
                    });
                    self.event("response.output_text.delta", event).await?;
                }
                Some(Piece::Logprobs(_)) => {}
                Some(Piece::Call(call)) => {
                    if begun {
                        self.end_message(&text, "completed").await?;
                        begun = false;
                        message_is_over = true;
                    } else {
                        self.end_reasoning(&reasoning).await?;
                    }
                    self.call(&call).await?;
                }
                Some(Piece::Done(summary)) => {
                    let response = self.head.whole(&summary);
                    let status = response["status"].as_str().unwrap_or("completed").to_owned();
                    if begun || (!message_is_over && summary.calls.is_empty()) {
                        self.begin(&mut begun, &reasoning).await?;
                        self.end_message(&summary.text, &status).await?;
                    }
                    return self
                        .event(&format!("response.{status}"), json!({"response": response}))
                        .await;
                }
                Some(Piece::Failed(failure)) => {
                    let mut response = self.head.response("failed");
                    response["error"] = json!({"code": "server_error", "message": failure.message});
                    return self.event("response.failed", json!({"response": response})).await;
                }
                None => return Ok(()),
            }
        }
    }

    /// Reasoning is over before anything else comes.
    async fn end_reasoning(&mut self, reasoning: &str) -> Result<(), Gone> {
        if reasoning.is_empty() || self.items > 0 {
            return Ok(());
        }
        let id = self.head.reasoning.clone();
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "text": reasoning});
        self.event("response.reasoning_text.done", done).await?;
        let item = self.head.reasoning_item(reasoning);
        self.event(
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
        )
        .await?;
        self.items = 1;
        Ok(())
    }

    /// The message's first events, once.
    async fn begin(&mut self, begun: &mut bool, reasoning: &str) -> Result<(), Gone> {
        if std::mem::replace(begun, true) {
            return Ok(());
        }
        self.end_reasoning(reasoning).await?;
        let mut item = self.head.message_item("", "in_progress");
        item["content"] = json!([]);
        let added = json!({"output_index": self.items, "item": item});
        self.event("response.output_item.added", added).await?;
        let added = json!({
            "item_id": self.head.message, "output_index": self.items, "content_index": 0, "part": part(""),
        });
        self.event("response.content_part.added", added).await
    }

    async fn end_message(&mut self, text: &str, status: &str) -> Result<(), Gone> {
        let (id, index) = (self.head.message.clone(), self.items);
        let place = json!({"item_id": id, "output_index": index, "content_index": 0});
        let mut done = place.clone();
        done["text"] = text.into();
        done["logprobs"] = json!([]);
        self.event("response.output_text.done", done).await?;
        let mut done = place;
        done["part"] = part(text);
        self.event("response.content_part.done", done).await?;
        let item = self.head.message_item(text, status);
        self.items += 1;
        self.event(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        )
        .await
    }

    async fn call(&mut self, call: &Call) -> Result<(), Gone> {
        let index = self.items;
        self.items += 1;
        let item = call_item(call, "in_progress");
        let id = item["id"].clone();
        let added = json!({"output_index": index, "item": item});
        self.event("response.output_item.added", added).await?;
        let arguments = Value::Object(call.arguments.clone()).to_string();
        let delta = json!({"item_id": id, "output_index": index, "delta": arguments});
        self.event("response.function_call_arguments.delta", delta)
            .await?;
        let done = json!({"item_id": id, "output_index": index, "name": call.name, "arguments": arguments});
        self.event("response.function_call_arguments.done", done).await?;
        let done = json!({"output_index": index, "item": call_item(call, "completed")});
        self.event("response.output_item.done", done).await
    }
}
