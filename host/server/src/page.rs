//! What stands at `/`: the web page for browsers, a word for Ollama's clients. The page's files are in `host/server/page`, as they are served.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::http::reply::with_status;

/// The page may load its own files and show its own pictures; it runs no other script, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob: 'self'; \
                      media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("../page/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 7] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("../page/style.css"),
    ),
    ("main.js", SCRIPT, include_str!("../page/main.js")),
    ("chats.js", SCRIPT, include_str!("../page/chats.js")),
    ("markdown.js", SCRIPT, include_str!("../page/markdown.js")),
    ("pictures.js", SCRIPT, include_str!("../page/pictures.js")),
    ("places.js", SCRIPT, include_str!("../page/places.js")),
    ("server.js", SCRIPT, include_str!("../page/server.js")),
];

/// `GET /` and `HEAD /`. Clients of Ollama look for these words; browsers ask for HTML.
pub async fn root(headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        return part("text/html; charset=utf-8", PAGE);
    }
    with_status(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        "Ollama is running\n".to_owned(),
    )
}

/// `GET /page/{name}`: a file of the page.
pub async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => part(kind, text),
        None => with_status(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "the page has no such file\n".to_owned(),
        ),
    }
}

fn part(kind: &'static str, text: &'static str) -> Response {
    let mut response = with_status(StatusCode::OK, kind, text.to_owned());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}
