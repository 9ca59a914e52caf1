//! The operator's endpoint of a process: is it alive, may it get work, what are its figures.
//!
//! It listens on loopback unless told otherwise, and shows nothing of any tenant.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// One thing a process needs in order to work.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// What: `database`, `bus`, `docker`.
    pub name: &'static str,
    /// Why it is not ready; `None` when it is.
    pub problem: Option<String>,
}

/// What the endpoint asks of its process.
pub trait Subject: Send + Sync + 'static {
    /// Everything that must work before the process may get work.
    fn readiness(&self) -> BoxFuture<'_, Vec<Readiness>>;
}

/// What the endpoint shows.
#[derive(Clone)]
struct Shown {
    subject: Arc<dyn Subject>,
    registry: Arc<Registry>,
}

/// The endpoint's routes: `/healthz`, `/readyz`, `/metrics`.
pub fn routes(subject: Arc<dyn Subject>, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state(Shown { subject, registry })
}

/// Serves the endpoint until `stop`.
///
/// # Errors
/// When the address cannot be bound or the listener fails.
pub async fn serve(
    address: SocketAddr,
    subject: Arc<dyn Subject>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, routes(subject, registry))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    let parts = shown.subject.readiness().await;
    let all = parts.iter().all(|part| part.problem.is_none());
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(parts))
}

/// Reads what was counted and collected before: a scrape asks nobody.
async fn figures(State(shown): State<Shown>) -> Response {
    match metrics::text(&shown.registry) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "the figures cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
