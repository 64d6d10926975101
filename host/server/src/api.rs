//! The interfaces: each reads requests into [`crate::chat::request::ChatRequest`] and writes answers in its own words.

pub mod anthropic;
pub mod models;
pub mod ollama;
pub mod openai;
pub mod openai_read;
pub mod openapi;
pub mod operation;
pub mod responses;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use serde_json::{Map, Value};

use crate::app::App;
use crate::chat::answer::{Answering, begin};
use crate::chat::request::ChatRequest;
use crate::failure::Failure;
use crate::http::guard::KeyNumber;
use crate::http::reply::{Dialect, Known, failed, note_ignored, read_object};

/// The most answers to one request.
const MOST_ANSWERS: usize = 8;

/// Begins all answers to a request.
pub async fn begin_all(app: &Arc<App>, chat: ChatRequest, key: KeyNumber) -> Result<Vec<Answering>, Failure> {
    let chat = Arc::new(chat);
    let count = chat.count.max(1);
    if count > MOST_ANSWERS {
        return Err(
            Failure::invalid(format!("expected at most {MOST_ANSWERS} answers, found {count}")).at("n"),
        );
    }
    let mut answers = Vec::with_capacity(count);
    for number in 0..count {
        let place = app.enter(key.0)?;
        let begun = begin(app, &chat, place, number).await;
        answers.push(begun.inspect_err(|failure| app.metrics.refused(failure.kind))?);
    }
    Ok(answers)
}

/// Reads a request's body and has it answered. The answer tells which fields nobody read, and failures are in the interface's words.
pub async fn answered(
    app: &App,
    request: Request,
    dialect: Dialect,
    known: Known<'_>,
    answer: impl AsyncFnOnce(&Map<String, Value>) -> Result<Response, Failure>,
) -> Response {
    let result = async {
        let body = read_object(request.into_body(), app.options.max_body).await?;
        let mut response = answer(&body).await?;
        note_ignored(&mut response, &body, known);
        Ok(response)
    };
    result
        .await
        .unwrap_or_else(|failure: Failure| failed(dialect, &failure))
}

/// A field that may be a string or absent.
pub fn text_of<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// Texts that end an answer: one, several, or none.
pub fn stops(value: Option<&Value>, path: &str) -> Result<Vec<String>, Failure> {
    let wrong = || Failure::invalid("expected a text, or a list of texts").at(path);
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(wrong()),
    };
    Ok(list.into_iter().filter(|stop| !stop.is_empty()).collect())
}

/// A whole number from 0 on; what is below is `None`.
pub fn count_of(value: Option<&Value>, path: &str) -> Result<Option<usize>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match (value.as_i64(), value.as_f64()) {
            (Some(number), _) => Ok(usize::try_from(number).ok()),
            (None, Some(number)) if number.fract() == 0.0 && (0.0..1e15).contains(&number) => {
                Ok(Some(number as usize))
            }
            _ => Err(Failure::invalid("expected a whole number").at(path)),
        },
    }
}

/// A number.
pub fn number_of(value: Option<&Value>, path: &str) -> Result<Option<f32>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number as f32)),
            None => Err(Failure::invalid("expected a number").at(path)),
        },
    }
}

/// Where random numbers start; negative ones are as good as others.
pub fn seed_of(value: Option<&Value>, path: &str) -> Result<Option<u64>, Failure> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match (value.as_i64(), value.as_u64()) {
            (Some(number), _) => Ok(Some(number as u64)),
            (_, Some(number)) => Ok(Some(number)),
            _ => Err(Failure::invalid("expected a whole number").at(path)),
        },
    }
}
