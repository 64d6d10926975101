//! Streams: server-sent events, and lines of JSON.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// After so long a silence something is sent, so that nobody in between takes the connection for dead.
pub const SILENCE: Duration = Duration::from_secs(10);

/// The receiving end as a body.
struct Lines(Receiver<String>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}

/// Where a stream is written. A client that is gone makes writing fail.
pub struct Writer(Sender<String>);

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

impl Writer {
    /// Writes as it stands.
    pub async fn write(&self, text: String) -> Result<(), Gone> {
        self.0.send(text).await.map_err(|_| Gone)
    }

    /// An event of data alone.
    pub async fn data(&self, data: &serde_json::Value) -> Result<(), Gone> {
        self.write(format!("data: {data}\n\n")).await
    }

    /// An event with a name.
    pub async fn event(&self, name: &str, data: &serde_json::Value) -> Result<(), Gone> {
        self.write(format!("event: {name}\ndata: {data}\n\n")).await
    }

    /// A line of JSON.
    pub async fn line(&self, data: &serde_json::Value) -> Result<(), Gone> {
        self.write(format!("{data}\n")).await
    }

    /// Waits until the client is gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }
}

/// A streamed answer of this type, and where to write it.
pub fn stream(kind: &'static str) -> (Writer, Response) {
    let (sender, receiver) = channel(32);
    let mut response = Response::new(Body::new(Lines(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold pieces back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Writer(sender), response)
}
