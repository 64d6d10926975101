//! The server: it listens, answers, and stops without cutting answers off.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::api::{anthropic, models, ollama, openai, openapi, operation, responses};
use crate::app::{App, ServerOptions};
use crate::engine::EngineMaker;
use crate::http::connections;
use crate::http::guard::guard;
use crate::models::catalogue::Catalogue;
use crate::models::registry::Registry;
use crate::page;

/// Why the server cannot be, or is no more.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can reach it, and nobody needs a key.
    #[error(
        "`--host {0}` lets other machines in, and there is no key\n\nhint: `--api-key-file FILE` names a file with a key a line; or leave `--host` out"
    )]
    Open(std::net::IpAddr),
    /// A model that was to be there from the start.
    #[error("{0}")]
    Preload(crate::failure::Failure),
    /// While it ran.
    #[error("the server failed: {0}")]
    Failed(#[from] std::io::Error),
}

/// A server that listens already.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
}

impl Server {
    /// Listens, and loads what is to be loaded first.
    pub async fn start(
        options: ServerOptions,
        catalogue: Catalogue,
        maker: EngineMaker,
    ) -> Result<Self, ServerError> {
        if !options.host.is_loopback() && options.keys.is_empty() {
            return Err(ServerError::Open(options.host));
        }
        let address = SocketAddr::new(options.host, options.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError::Listen { address, source })?;
        let registry = Registry::new(catalogue, maker, options.scheduler, options.keep);
        for name in &options.preload {
            registry.lease(name, None).await.map_err(ServerError::Preload)?;
        }
        let app = App::new(options, registry);
        Ok(Self { listener, app })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then lets answers end for as long as the options say.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let grace = self.app.options.grace;
        let registry = Arc::clone(&self.app.registry);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                registry.expire().await;
            }
        });
        let (stopped, stopping) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopped.send(());
        };
        let head_time = self.app.options.head_time;
        let server = connections::serve(self.listener, routes(self.app), head_time, stop);
        tokio::select! {
            () = server => {}
            () = async move {
                let _ = stopping.await;
                tokio::time::sleep(grace).await;
            } => {}
        }
        Ok(())
    }
}

/// Serves until the process is told to stop (Ctrl-C, SIGTERM); told twice, it stops at once. `listens` learns where.
pub fn serve(
    options: ServerOptions,
    catalogue: Catalogue,
    maker: EngineMaker,
    listens: &dyn Fn(SocketAddr),
) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let server = Server::start(options, catalogue, maker).await?;
        listens(server.address()?);
        server.run(told_to_stop()).await
    });
    // Pictures that are still being fetched keep nobody waiting.
    runtime.shutdown_background();
    result
}

#[cfg(unix)]
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(1);
    });
}

#[cfg(not(unix))]
async fn told_to_stop() {
    let _ = tokio::signal::ctrl_c().await;
}

/// All routes.
fn routes(app: Arc<App>) -> Router {
    let most = app.options.max_body;
    Router::new()
        .route("/", get(page::root))
        .route("/page/{name}", get(page::file))
        .route("/health", get(operation::health))
        .route("/metrics", get(operation::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/tokenize", post(operation::tokenize))
        .route("/props", get(models::props))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completion))
        .route("/v1/responses", post(responses::responses))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/api/v0/models", get(models::lm_studio))
        .route("/api/v0/chat/completions", post(openai::chat))
        .route("/api/v0/completions", post(openai::completion))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/tags", get(models::tags))
        .route("/api/ps", get(models::ps))
        .route("/api/show", post(models::show))
        .route("/api/version", get(operation::version))
        .route("/api/embed", post(operation::not_done))
        .route("/api/embeddings", post(operation::not_done))
        .route("/v1/embeddings", post(operation::not_done))
        .route("/v1/files", get(operation::not_done).post(operation::not_done))
        .route("/api/pull", post(operation::not_done))
        .route("/api/push", post(operation::not_done))
        .route("/api/create", post(operation::not_done))
        .route("/api/copy", post(operation::not_done))
        .fallback(operation::no_route)
        .method_not_allowed_fallback(operation::no_method)
        .layer(axum::extract::DefaultBodyLimit::max(most))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}
