//! How the server does, for those who run it; and what it does not do, said in a sentence.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::http::reply::{Dialect, failed, json_reply, read_object, with_status};
use crate::models::registry::blocking;

/// `GET /health`
pub async fn health(State(app): State<Arc<App>>) -> Response {
    match app.registry.dead() {
        None => json_reply(&json!({"status": "ok"})),
        Some(name) => failed(Dialect::OpenAi, &crate::models::registry::dead(&name)),
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    with_status(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.text(&app),
    )
}

/// `GET /api/version`. Clients ask it to learn whether this is Ollama, and which one.
pub async fn version() -> Response {
    json_reply(&json!({"version": "0.12.0", "monocle": env!("CARGO_PKG_VERSION")}))
}

/// `POST /tokenize`: `{"content": "…"}`, as llama-server has it, or `{"prompt": "…"}`, as vLLM.
pub async fn tokenize(State(app): State<Arc<App>>, request: Request) -> Response {
    let result = async {
        let body = read_object(request.into_body(), app.options.max_body).await?;
        let text = super::text_of(&body, "content").or_else(|| super::text_of(&body, "prompt"));
        let Some(text) = text.map(str::to_owned) else {
            return Err(Failure::invalid("expected a text").at("content"));
        };
        let lease = app
            .registry
            .lease(super::text_of(&body, "model").unwrap_or_default(), None)
            .await?;
        let special = body.get("add_special") == Some(&Value::Bool(true));
        let engine = Arc::clone(&lease.engine);
        let ids = blocking(move || engine.model.tokenizer().encode(&text, special)).await?;
        let ids = ids.map_err(|error| Failure::invalid(error.to_string()).at("content"))?;
        Ok(json_reply(&json!({"tokens": ids, "count": ids.len()})))
    };
    result
        .await
        .unwrap_or_else(|failure: Failure| failed(Dialect::OpenAi, &failure))
}

/// What Ollama does and Monocle does not.
pub async fn not_done(request: Request) -> Response {
    let path = request.uri().path();
    let message = match path {
        "/api/embed" | "/api/embeddings" | "/v1/embeddings" => "Monocle makes no embeddings",
        "/api/pull" => "requests fetch no models; `monocle pull` on the server's machine does",
        _ if path.starts_with("/v1/files") => {
            "there is no store of files here; send pictures in the messages"
        }
        _ => "requests do not change which models there are; manifests do",
    };
    failed(Dialect::of(path), &Failure::new(Kind::NotDone, message))
}

/// Nothing of that name.
pub async fn no_route(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(100).collect();
    let message = format!("there is nothing at `{path}`");
    failed(Dialect::of(&path), &Failure::new(Kind::NotFound, message))
}

/// There is, but not by this method.
pub async fn no_method(request: Request) -> Response {
    let message = format!(
        "`{}` takes another method than {}",
        request.uri().path(),
        request.method()
    );
    failed(
        Dialect::of(request.uri().path()),
        &Failure::new(Kind::Method, message),
    )
}
