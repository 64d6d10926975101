//! Answers that are no stream: JSON, and errors in each interface's shape.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::failure::{Failure, Kind};

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(120);

/// Whose words errors are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error": {message, type, param, code}}`
    OpenAi,
    /// `{"type": "error", "error": {type, message}}`
    Anthropic,
    /// `{"error": "…"}`
    Ollama,
}

impl Dialect {
    /// That of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v1/messages") {
            Self::Anthropic
        } else if path.starts_with("/api/") && !path.starts_with("/api/v0/") {
            Self::Ollama
        } else {
            Self::OpenAi
        }
    }

    /// A failure's body.
    pub fn error(self, failure: &Failure) -> Value {
        let message = &failure.message;
        match self {
            Self::OpenAi => {
                let kind = match failure.kind {
                    Kind::Unauthorised => "authentication_error",
                    Kind::Forbidden => "permission_error",
                    Kind::NotFound => "not_found_error",
                    Kind::TooMany => "rate_limit_error",
                    Kind::Busy | Kind::Dead => "unavailable_error",
                    Kind::Late | Kind::Internal => "api_error",
                    _ => "invalid_request_error",
                };
                json!({"error": {"message": message, "type": kind, "param": failure.param, "code": failure.code}})
            }
            Self::Anthropic => {
                let kind = match failure.kind {
                    Kind::Unauthorised => "authentication_error",
                    Kind::Forbidden => "permission_error",
                    Kind::NotFound => "not_found_error",
                    Kind::TooLong => "request_too_large",
                    Kind::TooMany => "rate_limit_error",
                    Kind::Busy | Kind::Dead => "overloaded_error",
                    Kind::Late => "timeout_error",
                    Kind::Internal => "api_error",
                    _ => "invalid_request_error",
                };
                let at = failure.param.as_ref().map(|param| format!("{param}: {message}"));
                json!({"type": "error", "error": {"type": kind, "message": at.as_ref().unwrap_or(message)}})
            }
            Self::Ollama => json!({"error": message}),
        }
    }
}

/// JSON.
pub fn json_reply(body: &Value) -> Response {
    with_status(StatusCode::OK, "application/json", body.to_string())
}

/// A text of some type.
pub fn with_status(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A failure.
pub fn failed(dialect: Dialect, failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_status(status, "application/json", dialect.error(failure).to_string());
    let headers = response.headers_mut();
    if let Some(seconds) = failure.kind.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if failure.kind.is_final() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if failure.kind == Kind::Unauthorised {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Reads a body of JSON: an object. What type the client calls it does not matter.
pub async fn read_object(body: Body, most: usize) -> Result<Map<String, Value>, Failure> {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await;
    let Ok(read) = read else {
        return Err(Failure::new(
            Kind::BodyLate,
            "the request's body did not come in time",
        ));
    };
    let bytes = read.map_err(|_| {
        let message = format!("the request has more than {most} bytes; `--max-body` allows more");
        Failure::new(Kind::TooLong, message)
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::invalid("expected a JSON object")),
        Err(error) => Err(Failure::invalid(format!("the body is no JSON: {error}"))),
    }
}

/// Reads an object's fields; errors name the path.
pub fn fields<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, Failure> {
    serde_path_to_error::deserialize(Value::Object(object.clone())).map_err(|error| {
        let path = error.path().to_string();
        let failure = Failure::invalid(error.inner().to_string());
        match path.as_str() {
            "." => failure,
            _ => failure.at(path),
        }
    })
}

/// The fields of a body that are read.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its own.
    pub fields: &'a [&'a str],
    /// Those of its object `options`, where that is read.
    pub options: &'a [&'a str],
}

/// Tells in a header which fields of the body nobody read.
pub fn note_ignored(response: &mut Response, object: &Map<String, Value>, known: Known<'_>) {
    let plain =
        |name: &String| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let unread = |object: &Map<String, Value>, known: &[&str], before: &str| -> Vec<String> {
        let names = object.keys().filter(|key| !known.contains(&key.as_str()));
        names
            .filter(|name| plain(name))
            .map(|name| format!("{before}{name}"))
            .collect()
    };
    let mut ignored = unread(object, known.fields, "");
    if let Some(options) = object.get("options").and_then(Value::as_object)
        && known.fields.contains(&"options")
    {
        ignored.extend(unread(options, known.options, "options."));
    }
    ignored.truncate(32);
    if let Some(value) = (!ignored.is_empty())
        .then(|| HeaderValue::from_str(&ignored.join(", ")).ok())
        .flatten()
    {
        response.headers_mut().insert("x-monocle-ignored", value);
    }
}
