//! Health and version.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;
use crate::versions::LANGFLOW_VERSION;

/// `GET /health`, `/healthz`: the process answers.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /health_check`, `/readyz`: what it depends on answers too.
pub(crate) async fn health_check(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let (store, bus) = tokio::join!(app.store.check(), app.bus.healthy());
    if let Err(error) = &store {
        tracing::warn!(error = %error, "the database is not ready");
    }
    if let Err(error) = &bus {
        tracing::warn!(error = %error, "the bus is not ready");
    }
    let word = |ok| if ok { "ok" } else { "error check the server logs" };
    let is_ok = store.is_ok() && bus.is_ok();
    let (status, all) =
        if is_ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "nok") };
    // `chat` is Langflow's name for what moves messages.
    let body = json!({"status": all, "chat": word(bus.is_ok()), "db": word(store.is_ok())});
    (status, Json(body))
}

/// `GET /api/v1/version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({
        "version": LANGFLOW_VERSION,
        "main_version": LANGFLOW_VERSION,
        "package": "Langflow",
        "flowcell": env!("CARGO_PKG_VERSION"),
    }))
}
