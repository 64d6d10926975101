//! What stands at `/`.

use axum::http::StatusCode;
use axum::response::Response;

use crate::http::reply::with_status;

/// `GET /` and `HEAD /`. Clients of Ollama look for these words.
pub async fn root() -> Response {
    with_status(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        "Ollama is running\n".to_owned(),
    )
}
