//! The operator's endpoint of a process: is it alive, may it get work, what are its figures.
//!
//! It listens on loopback unless told otherwise, and shows nothing of any tenant.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// One thing a process needs in order to work.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// What: `database`, `bus`, `docker`.
    pub name: &'static str,
    /// Why it is not ready; `None` when it is.
    pub problem: Option<String>,
}

/// One figure, in Prometheus's sense.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Name, with unit and `_total` where it applies.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Its value.
    pub value: f64,
}

/// What the endpoint asks of its process.
pub trait Subject: Send + Sync + 'static {
    /// Everything that must work before the process may get work.
    fn readiness(&self) -> BoxFuture<'_, Vec<Readiness>>;
    /// Its figures now.
    fn metrics(&self) -> Vec<Metric>;
}

/// The endpoint's routes: `/healthz`, `/readyz`, `/metrics`.
pub fn routes(subject: Arc<dyn Subject>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(subject)
}

/// Serves the endpoint until `stop`.
///
/// # Errors
/// When the address cannot be bound or the listener fails.
pub async fn serve(
    address: SocketAddr,
    subject: Arc<dyn Subject>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, routes(subject))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

async fn ready(State(subject): State<Arc<dyn Subject>>) -> impl IntoResponse {
    let parts = subject.readiness().await;
    let all = parts.iter().all(|part| part.problem.is_none());
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(parts))
}

async fn metrics(State(subject): State<Arc<dyn Subject>>) -> impl IntoResponse {
    let mut text = String::new();
    for metric in subject.metrics() {
        let kind = if metric.is_counter { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {} {}", metric.name, metric.help);
        let _ = writeln!(text, "# TYPE {} {kind}", metric.name);
        let _ = writeln!(text, "{} {}", metric.name, metric.value);
    }
    ([("content-type", "text/plain; version=0.0.4")], text)
}
