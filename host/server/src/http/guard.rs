//! Who may ask: the name by which the server was called, the page that asks, and the key.
//!
//! A server on this machine has no key, so a web page must not reach it: not by a name that leads here (the `Host` is checked), and not from
//! another origin (the `Origin` is).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::reply::{Dialect, failed};
use crate::app::{App, identity, now, timestamp};
use crate::failure::{Failure, Kind};

/// The number of the key that a request came with, where there are keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyNumber(pub Option<usize>);

/// Checks a request, answers it, and writes a line about it.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = identity("req_");
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| {
        app.options
            .origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
    });
    let checked = check(&app, request.headers(), request.method(), request.uri());
    let mut response = match checked {
        Err(failure) => {
            app.metrics.refused(failure.kind);
            failed(Dialect::of(&path), &failure)
        }
        Ok(_) if method == Method::OPTIONS && allowed.is_some() => StatusCode::NO_CONTENT.into_response(),
        Ok(key) => {
            request.extensions_mut().insert(KeyNumber(key));
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, x-api-key, anthropic-version"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
        );
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value.clone());
        // The name that Anthropic's client reads.
        headers.insert("request-id", value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if app.options.log {
        let path: String = path.chars().take(200).flat_map(char::escape_debug).collect();
        eprintln!(
            "{} {id} {method} {path} {} {} ms",
            timestamp(now()),
            response.status().as_u16(),
            started.elapsed().as_millis()
        );
    }
    response
}

fn check(app: &App, headers: &HeaderMap, method: &Method, uri: &Uri) -> Result<Option<usize>, Failure> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
    if app.options.host.is_loopback() {
        let name = host.map(host_name).unwrap_or_default();
        if !is_here(&name)
            && !app
                .options
                .allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(&name))
        {
            let message = "this server is not called by that name; `--allow-host NAME` allows it another";
            return Err(Failure::new(Kind::Forbidden, message));
        }
    }
    if let Some(origin) = text(header::ORIGIN) {
        let same = origin
            .split_once("://")
            .is_some_and(|(_, rest)| host.is_some_and(|host| rest.eq_ignore_ascii_case(host)));
        if !same && !app.options.origins.iter().any(|allowed| allowed == origin) {
            let message = "web pages of other origins may not ask; `--cors ORIGIN` allows one";
            return Err(Failure::new(Kind::Forbidden, message));
        }
    }
    // The page itself holds no secret; it asks for the key.
    let public = matches!(uri.path(), "/" | "/health") || uri.path().starts_with("/page/");
    let open = public && matches!(*method, Method::GET | Method::HEAD);
    if app.keys.is_open() || open || *method == Method::OPTIONS {
        return Ok(None);
    }
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let key = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok());
    match key {
        None => Err(Failure::new(
            Kind::Unauthorised,
            "this server wants a key: `Authorization: Bearer KEY`",
        )),
        Some(key) => match app.keys.find(key) {
            Some(number) => Ok(Some(number)),
            None => Err(
                Failure::new(Kind::Unauthorised, "the key is not one of this server's")
                    .code("invalid_api_key"),
            ),
        },
    }
}

/// A host without its port.
fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Names that always mean this machine (RFC 6761, section 6.3), and its own addresses.
fn is_here(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_here() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "a.localhost",
            "localhost.",
        ] {
            assert!(is_here(&host_name(host)), "{host}");
        }
        for host in [
            "example.org",
            "localhost.example.org:80",
            "192.168.1.1",
            "127.0.0.1.nip.io",
            "",
            "[::2]",
            "?",
        ] {
            assert!(!is_here(&host_name(host)), "{host}");
        }
    }
}
