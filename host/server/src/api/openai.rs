//! OpenAI's chat completions and completions; LM Studio's are the same.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use monocle_text::{Scored, TokenLogprobs};
use serde_json::{Map, Value, json};

use super::{answered, begin_all, openai_read};
use crate::app::{App, identity, now};
use crate::chat::answer::{Answering, Finish, Piece, Summary, Usage};
use crate::chat::request::{ChatMessage, ChatRequest};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, Known, json_reply};
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
    let given = async |body: &Map<String, Value>| given(&app, key, body, shape).await;
    let known = Known {
        fields: &openai_read::KNOWN,
        options: &[],
    };
    answered(&app, request, Dialect::OpenAi, known, given).await
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
        let engine = Arc::clone(&answering.lease.engine);
        let summary = answering.whole().await?;
        choices.push(head.choice(index, &summary, &engine));
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

/// The prompt of several answers counts once: the first one's.
fn add(sum: &mut Usage, one: &Usage, index: usize) {
    if index == 0 {
        (sum.prompt, sum.cached, sum.images) = (one.prompt, one.cached, one.images);
    }
    sum.answer += one.answer;
    sum.reasoning += one.reasoning;
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

    fn choice(&self, index: usize, summary: &Summary, engine: &Engine) -> Value {
        let finish = finish_word(&summary.finish);
        let logprobs = match summary.wants_logprobs {
            true => self.logprobs(engine, &summary.logprobs, 0),
            false => Value::Null,
        };
        match self.shape {
            Shape::Completion => {
                json!({"index": index, "text": summary.text, "logprobs": logprobs, "finish_reason": finish})
            }
            Shape::Chat => {
                let mut message = json!({"role": "assistant", "content": summary.text});
                if !summary.reasoning.is_empty() {
                    message["reasoning_content"] = summary.reasoning.clone().into();
                    message["reasoning"] = summary.reasoning.clone().into();
                }
                if !summary.calls.is_empty() {
                    let calls = summary.calls.iter().map(|call| {
                        let arguments = Value::Object(call.arguments.clone()).to_string();
                        let function = json!({"name": call.name, "arguments": arguments});
                        json!({"id": call.id, "type": "function", "function": function})
                    });
                    message["tool_calls"] = calls.collect();
                    if summary.text.is_empty() {
                        message["content"] = Value::Null;
                    }
                }
                json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
            }
        }
    }

    /// `written`: characters of the answer before these tokens.
    fn logprobs(&self, engine: &Engine, logprobs: &[TokenLogprobs], written: usize) -> Value {
        match self.shape {
            Shape::Chat => {
                let one = |scored: &Scored| {
                    let (text, bytes) = engine.written(scored.id);
                    json!({"token": text, "logprob": finite(scored.logprob), "bytes": bytes})
                };
                let tokens = logprobs.iter().map(|token| {
                    let mut chosen = one(&token.chosen);
                    chosen["top_logprobs"] = token.top.iter().map(one).collect();
                    chosen
                });
                json!({"content": tokens.collect::<Value>(), "refusal": null})
            }
            Shape::Completion => {
                let mut offset = written;
                let mut found =
                    json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
                let mut push = |name: &str, value: Value| {
                    if let Some(list) = found[name].as_array_mut() {
                        list.push(value);
                    }
                };
                for token in logprobs {
                    let (text, _) = engine.written(token.chosen.id);
                    let top = token.top.iter().map(|scored| {
                        let (text, _) = engine.written(scored.id);
                        (text, finite(scored.logprob).into())
                    });
                    push("text_offset", offset.into());
                    offset += text.chars().count();
                    push("tokens", text.into());
                    push("token_logprobs", finite(token.chosen.logprob).into());
                    push("top_logprobs", Value::Object(top.collect()));
                }
                found
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

/// One of the answers that are written side by side.
struct Stream {
    answering: Answering,
    /// What the model thought at tokens whose text has not come.
    logprobs: Vec<TokenLogprobs>,
    calls: usize,
    written: usize,
    is_over: bool,
}

impl Stream {
    fn new(answering: Answering) -> Self {
        Self {
            answering,
            logprobs: Vec::new(),
            calls: 0,
            written: 0,
            is_over: false,
        }
    }
}

/// The next piece of any of them, and whose it is; the one after `last` is asked first. `None` when all are over.
async fn next_of(streams: &mut [Stream], last: usize) -> Option<(usize, Option<Piece>)> {
    if streams.iter().all(|stream| stream.is_over) {
        return None;
    }
    let count = streams.len();
    let next = poll_fn(|context| {
        for index in (1..=count).map(|step| (last + step) % count) {
            if streams[index].is_over {
                continue;
            }
            if let Poll::Ready(piece) = streams[index].answering.poll_next(context) {
                return Poll::Ready((index, piece));
            }
        }
        Poll::Pending
    });
    Some(next.await)
}

async fn write_all(
    head: &Head,
    answers: Vec<Answering>,
    wants_usage: bool,
    writer: &Writer,
) -> Result<(), Gone> {
    let is_chat = head.shape == Shape::Chat;
    let mut streams: Vec<Stream> = answers.into_iter().map(Stream::new).collect();
    if is_chat {
        for index in 0..streams.len() {
            let first = head.chunk(index, json!({"role": "assistant", "content": ""}), None);
            writer.data(&first).await?;
        }
    }
    let mut usage = Usage::default();
    let mut account = Value::Null;
    let mut last = 0;
    loop {
        let piece = tokio::select! {
            piece = next_of(&mut streams, last) => piece,
            () = writer.gone() => return Err(Gone),
            () = tokio::time::sleep(SILENCE) => {
                writer.write(": still there\n\n".to_owned()).await?;
                continue;
            }
        };
        let Some((index, piece)) = piece else { break };
        last = index;
        let stream = &mut streams[index];
        match piece {
            Some(Piece::Logprobs(more)) => stream.logprobs.extend(more),
            Some(Piece::Text(text)) => {
                let mut chunk = head.chunk(index, json!({"content": text}), None);
                let logprobs = std::mem::take(&mut stream.logprobs);
                if !logprobs.is_empty() {
                    chunk["choices"][0]["logprobs"] =
                        head.logprobs(&stream.answering.lease.engine, &logprobs, stream.written);
                }
                stream.written += text.chars().count();
                writer.data(&chunk).await?;
            }
            Some(Piece::Reasoning(text)) => {
                let delta = json!({"reasoning_content": text, "reasoning": text});
                if is_chat {
                    writer.data(&head.chunk(index, delta, None)).await?;
                }
            }
            Some(Piece::Call(call)) => {
                let function = json!({"name": call.name, "arguments": ""});
                let begin =
                    json!({"index": stream.calls, "id": call.id, "type": "function", "function": function});
                let arguments = Value::Object(call.arguments).to_string();
                let rest = json!({"index": stream.calls, "function": {"arguments": arguments}});
                stream.calls += 1;
                for delta in [begin, rest] {
                    writer
                        .data(&head.chunk(index, json!({"tool_calls": [delta]}), None))
                        .await?;
                }
            }
            Some(Piece::Done(summary)) => {
                let mut chunk = head.chunk(index, json!({}), Some(finish_word(&summary.finish)));
                add(&mut usage, &summary.usage, index);
                if index == 0 {
                    account = summary.account();
                    chunk["monocle"] = account.clone();
                }
                stream.is_over = true;
                writer.data(&chunk).await?;
            }
            Some(Piece::Failed(failure)) => {
                writer.data(&Dialect::OpenAi.error(&failure)).await?;
                return writer.write("data: [DONE]\n\n".to_owned()).await;
            }
            None => stream.is_over = true,
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

/// JSON has no infinity: what OpenAI says of tokens that are hardly likely.
fn finite(logprob: f64) -> f64 {
    logprob.max(-9999.0)
}

fn finish_word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopString(_) => "stop",
        Finish::Calls => "tool_calls",
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
