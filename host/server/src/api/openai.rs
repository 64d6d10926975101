//! OpenAI's chat completions and completions; LM Studio's are the same.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{begin_all, openai_read};
use crate::app::{App, identity, now};
use crate::chat::answer::{Answering, Finish, Piece, Summary, Usage};
use crate::chat::request::{ChatMessage, ChatRequest};
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, failed, json_reply, note_ignored, read_object};
use crate::http::stream::{Gone, SILENCE, Writer, stream};

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Chat,
    Completion,
}

/// `POST /v1/chat/completions`
pub async fn chat(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    answer(app, key, request, Shape::Chat).await
}

/// `POST /v1/completions`
pub async fn completion(
    State(app): State<Arc<App>>,
    Extension(key): Extension<KeyNumber>,
    request: Request,
) -> Response {
    answer(app, key, request, Shape::Completion).await
}

async fn answer(app: Arc<App>, key: KeyNumber, request: Request, shape: Shape) -> Response {
    let result = async {
        let body = read_object(request.into_body(), app.options.max_body).await?;
        let mut response = given(&app, key, &body, shape).await?;
        note_ignored(&mut response, &body, &openai_read::KNOWN);
        Ok(response)
    };
    result
        .await
        .unwrap_or_else(|failure: Failure| failed(Dialect::OpenAi, &failure))
}

async fn given(
    app: &Arc<App>,
    key: KeyNumber,
    body: &Map<String, Value>,
    shape: Shape,
) -> Result<Response, Failure> {
    let chat = match shape {
        Shape::Chat => openai_read::chat(body)?,
        Shape::Completion => completion_of(body)?,
    };
    let wants_usage = body
        .get("stream_options")
        .is_some_and(|options| options["include_usage"] == Value::Bool(true));
    let mut answers = begin_all(app, chat, key).await?;
    let head = Head {
        shape,
        id: identity(if shape == Shape::Chat {
            "chatcmpl-"
        } else {
            "cmpl-"
        }),
        created: now(),
        model: answers
            .first()
            .map(|answer| answer.lease.name.clone())
            .unwrap_or_default(),
    };
    if body.get("stream") == Some(&Value::Bool(true)) {
        let (writer, response) = stream("text/event-stream");
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = write_all(&head, answers, wants_usage, &writer).await;
        });
        return Ok(response);
    }
    let mut choices = Vec::new();
    let mut usage = Usage::default();
    let mut accounts = Vec::new();
    for (index, answering) in answers.drain(..).enumerate() {
        let summary = answering.whole().await?;
        choices.push(head.choice(index, &summary));
        add(&mut usage, &summary.usage, index);
        accounts.push(summary.account());
    }
    let mut reply = head.object(if shape == Shape::Chat {
        "chat.completion"
    } else {
        "text_completion"
    });
    reply["choices"] = Value::Array(choices);
    reply["usage"] = usage_json(&usage);
    reply["monocle"] = accounts.swap_remove(0);
    Ok(json_reply(&reply))
}

/// The prompt of several answers counts once.
fn add(sum: &mut Usage, one: &Usage, index: usize) {
    if index == 0 {
        *sum = *one;
    } else {
        sum.answer += one.answer;
        sum.reasoning += one.reasoning;
    }
}

fn completion_of(body: &Map<String, Value>) -> Result<ChatRequest, Failure> {
    let mut chat = openai_read::common(body)?;
    let prompt = match body.get("prompt") {
        Some(Value::String(prompt)) => prompt.clone(),
        Some(Value::Array(prompts)) => match prompts.as_slice() {
            [Value::String(prompt)] => prompt.clone(),
            _ => {
                return Err(Failure::unsupported(
                    "prompt",
                    "several prompts in one request, or prompts of token ids",
                ));
            }
        },
        _ => return Err(Failure::invalid("expected a text").at("prompt")),
    };
    chat.raw = true;
    chat.messages = vec![ChatMessage::text("user", prompt)];
    Ok(chat)
}

/// What every object of an answer begins with.
struct Head {
    shape: Shape,
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn object(&self, object: &str) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model})
    }

    fn choice(&self, index: usize, summary: &Summary) -> Value {
        let finish = finish_word(&summary.finish);
        match self.shape {
            Shape::Completion => {
                json!({"index": index, "text": summary.text, "logprobs": null, "finish_reason": finish})
            }
            Shape::Chat => {
                let mut message = json!({"role": "assistant", "content": summary.text});
                if !summary.reasoning.is_empty() {
                    message["reasoning_content"] = summary.reasoning.clone().into();
                    message["reasoning"] = summary.reasoning.clone().into();
                }
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
            }
        }
    }

    fn chunk(&self, index: usize, delta: Value, finish: Option<&str>) -> Value {
        let mut chunk = match self.shape {
            Shape::Chat => self.object("chat.completion.chunk"),
            Shape::Completion => self.object("text_completion"),
        };
        let choice = match self.shape {
            Shape::Chat => json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}),
            Shape::Completion => {
                let text = delta["content"].as_str().unwrap_or_default();
                json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
            }
        };
        chunk["choices"] = json!([choice]);
        chunk
    }
}

async fn write_all(
    head: &Head,
    answers: Vec<Answering>,
    wants_usage: bool,
    writer: &Writer,
) -> Result<(), Gone> {
    let mut usage = Usage::default();
    let mut account = Value::Null;
    let is_chat = head.shape == Shape::Chat;
    for (index, mut answering) in answers.into_iter().enumerate() {
        if is_chat {
            let first = head.chunk(index, json!({"role": "assistant", "content": ""}), None);
            writer.data(&first).await?;
        }
        loop {
            let piece = tokio::select! {
                piece = answering.next() => piece,
                () = writer.gone() => return Err(Gone),
                () = tokio::time::sleep(SILENCE) => {
                    writer.write(": still there\n\n".to_owned()).await?;
                    continue;
                }
            };
            match piece {
                Some(Piece::Text(text)) => {
                    writer
                        .data(&head.chunk(index, json!({"content": text}), None))
                        .await?;
                }
                Some(Piece::Reasoning(text)) => {
                    let delta = json!({"reasoning_content": text, "reasoning": text});
                    if is_chat {
                        writer.data(&head.chunk(index, delta, None)).await?;
                    }
                }
                Some(Piece::Done(summary)) => {
                    let mut last = head.chunk(index, json!({}), Some(finish_word(&summary.finish)));
                    add(&mut usage, &summary.usage, index);
                    if index == 0 {
                        account = summary.account();
                        last["monocle"] = account.clone();
                    }
                    writer.data(&last).await?;
                    break;
                }
                Some(Piece::Failed(failure)) => {
                    writer.data(&Dialect::OpenAi.error(&failure)).await?;
                    return writer.write("data: [DONE]\n\n".to_owned()).await;
                }
                None => break,
            }
        }
    }
    if wants_usage {
        let mut last = match is_chat {
            true => head.object("chat.completion.chunk"),
            false => head.object("text_completion"),
        };
        last["choices"] = json!([]);
        last["usage"] = usage_json(&usage);
        last["monocle"] = account;
        writer.data(&last).await?;
    }
    writer.write("data: [DONE]\n\n".to_owned()).await
}

fn finish_word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopString(_) => "stop",
        Finish::Length | Finish::Context => "length",
    }
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.answer,
        "total_tokens": usage.prompt + usage.answer,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "image_tokens": usage.images},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}
