//! Connections: taken in, given so long for a request's head, and let end when the server stops.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// How long to wait where no connection can be taken in, for want of file descriptors for one.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until `stop`, and then until all that was begun is over. A connection on which no request's head comes within `head_time` is closed.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    head_time: Duration,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time);
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Pieces of an answer go out as they come; where that cannot be had, they come later.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(routes.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // How a connection ended, its client knows.
            let _ = connection.await;
        });
    }
    drop(listener);
    open.shutdown().await;
}
