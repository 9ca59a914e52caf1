//! `POST /api/v1/webhook/{id or endpoint name}`: start a flow with whatever the body holds.
//!
//! The body goes, as it came, to the flow's webhook components, and the answer comes before the
//! run. Nobody waits for it, so it has the deadline of a durable run, and the sender's repetitions
//! can be recognised by an idempotency key as there.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::input::webhook_tweaks;
use domain::tweaks::Policy;
use serde_json::{Value, json};
use store::Turn;

use super::run::find;
use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;
use crate::extract::Raw;
use crate::flowcell::runs::idempotency_key;
use crate::start_run::{self, Ask, Pause, Terms};

/// Langflow's words, which name an id that nobody has to send any more.
const EMPTY: &str =
    "Request body is empty. You should provide a JSON payload containing the flow ID.";

/// The route.
pub(crate) async fn receive(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<(StatusCode, Json<Value>), Error> {
    let tenant = app.tenant(&principal);
    let flow = find(&tenant, &name).await?;
    if body.is_empty() {
        return Err(Error::Refused(EMPTY.to_owned()));
    }
    let idempotency_key = idempotency_key(&headers)?;
    let version = app.versions.current_of(&tenant, &flow).await?;
    let payload = std::str::from_utf8(&body).map_err(|_| Error::BodyUnreadable)?;
    let ask = Ask {
        // An empty input, not none: chat inputs lose the text that the flow stores.
        input_value: Some(String::new()),
        tweaks: webhook_tweaks(&version.graph, payload),
        ..Ask::default()
    };
    let now = store::now();
    let deadline = now + app.config.run_deadline(None);
    // The payload is what the author made the webhook for, so no policy holds it back.
    let tweaks = Policy::Permissive;
    let terms = Terms {
        deadline,
        idempotency_key,
        pause: Pause::Refused,
        tweaks,
        turn: Turn::default(),
        detached: true,
        now,
    };
    start_run::start(&app, &principal, &flow, ask, terms).await?;
    let answer = json!({"message": "Task started in the background", "status": "in progress"});
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
