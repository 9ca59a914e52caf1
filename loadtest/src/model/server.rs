//! The server: its configuration, its routes, its life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::plan::Timing;
use super::record::{Recorded, Recorder};
use super::script::Script;
use super::{chat, chunks, embeddings, responses};
use crate::ApiKey;

/// Largest request body; a prompt with a few images fits.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long streams under way may take to end once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(2);
/// The model listed when the script names none.
const DEFAULT_MODEL: &str = "flowcell-scripted";

/// What the server does.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to answer to what.
    pub script: Script,
    /// How fast, unless a rule says otherwise.
    pub timing: Timing,
    /// The key asked of every request but `/healthz`; none lets everyone in.
    pub api_key: Option<ApiKey>,
    /// Length of embeddings unless the request names one.
    pub embedding_dimensions: usize,
    /// How many requests are kept for `/recorded`.
    pub recorded_max: usize,
}

/// The server, bound and not yet serving.
#[derive(Debug)]
pub struct Model {
    listener: TcpListener,
    router: Router,
    handle: ModelHandle,
}

/// Finds and stops a server; cheap to clone.
#[derive(Debug, Clone)]
pub struct ModelHandle {
    address: SocketAddr,
    stop: CancellationToken,
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) script: Script,
    pub(crate) timing: Timing,
    pub(crate) embedding_dimensions: usize,
    pub(crate) recorder: Recorder,
    api_key: Option<ApiKey>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            script: Script::default(),
            timing: Timing::default(),
            api_key: None,
            embedding_dimensions: 1_536,
            recorded_max: 1_000,
        }
    }
}

impl Model {
    /// Checks the configuration and takes the address.
    pub async fn bind(listen: SocketAddr, config: Config) -> anyhow::Result<Self> {
        config.script.check().context("in the script")?;
        ensure!(
            (1..=embeddings::DIMENSIONS_MAX).contains(&config.embedding_dimensions),
            "embeddings have 1 to {} dimensions, not {}",
            embeddings::DIMENSIONS_MAX,
            config.embedding_dimensions
        );
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let address = listener.local_addr().context("asking for the bound address")?;
        let shared = Arc::new(Shared {
            script: config.script,
            timing: config.timing,
            embedding_dimensions: config.embedding_dimensions,
            recorder: Recorder::new(config.recorded_max),
            api_key: config.api_key,
        });
        let handle = ModelHandle { address, stop: CancellationToken::new() };
        Ok(Self { listener, router: router(shared), handle })
    }

    /// The handle to it.
    pub fn handle(&self) -> ModelHandle {
        self.handle.clone()
    }

    /// Serves until the handle stops it.
    pub async fn serve(self) -> anyhow::Result<()> {
        let stop = self.handle.stop.clone();
        let serving = axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving.into_future() => served.context("serving"),
            () = overdue => Ok(()),
        }
    }
}

impl ModelHandle {
    /// The address it listens on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, without the `/v1` that clients add.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends serving, in two seconds at most.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(chat::PATH, post(chat::complete))
        .route(embeddings::PATH, post(embeddings::embed))
        .route(responses::PATH, post(responses::respond))
        .route("/v1/models", get(models))
        .route("/recorded", get(recorded).delete(forget))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), authorize))
        .route("/healthz", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

/// The body, or the reason it could not be read, in OpenAI's shape.
pub(crate) fn readable(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))
}

async fn authorize(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let Some(key) = &shared.api_key else {
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if given == Some(key.expose()) {
        return next.run(request).await;
    }
    let message = match given {
        None => {
            "You didn't provide an API key. You need to provide your API key in an \
                 Authorization header using Bearer auth."
        }
        Some(_) => "Incorrect API key provided.",
    };
    ApiError::new(StatusCode::UNAUTHORIZED, message.to_owned())
        .with_code("invalid_api_key")
        .into_response()
}

async fn models(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let named = shared.script.rules.iter().filter_map(|rule| rule.when.model.as_deref());
    let mut ids: Vec<&str> = vec![DEFAULT_MODEL];
    for id in named.filter(|id| !id.contains(['*', '?'])) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let data: Vec<Value> = ids
        .iter()
        .map(|id| {
            let created = chunks::CREATED_UNIX_S;
            json!({"id": id, "object": "model", "created": created, "owned_by": "flowcell"})
        })
        .collect();
    Json(json!({"object": "list", "data": data}))
}

async fn recorded(State(shared): State<Arc<Shared>>) -> Json<Recorded> {
    Json(shared.recorder.recorded())
}

async fn forget(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.recorder.clear();
    StatusCode::NO_CONTENT
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    let message = format!("Invalid URL ({method} {})", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, message).with_code("unknown_url")
}
