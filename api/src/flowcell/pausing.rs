//! Pausing runs, and letting them go on.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::id::RunId;
use domain::run::RunState;
use proto::message::{Hold, RunOrder, VERSION};
use serde_json::{Value, json};
use store::{RunHeader, Tenant};
use tokio::time::Instant;
use uuid::Uuid;

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::cancel;
use crate::error::Error;

/// How long a caller waits for what it ordered; it happens in any case.
const SHOWN_MAX: Duration = Duration::from_secs(5);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// `POST /api/flowcell/v1/runs/{id}/pause`: 200 once it is paused, 202 where that takes longer, 409
/// for a run that has ended or that a component waits for.
pub(crate) async fn pause(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let tenant = app.tenant(&principal);
    let header = open(&tenant, &id).await?;
    if let Some((parent, _)) = header.parent {
        let text = format!("a component of run {parent} waits for this run: pause that one");
        return Err(Error::Conflict(text));
    }
    order(&app, &tenant, header, Hold::Pause).await
}

/// `POST /api/flowcell/v1/runs/{id}/unpause`: the same; a run that is not paused stays as it is.
pub(crate) async fn unpause(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let tenant = app.tenant(&principal);
    let header = open(&tenant, &id).await?;
    order(&app, &tenant, header, Hold::Unpause).await
}

async fn open(tenant: &Tenant, id: &str) -> Result<RunHeader, Error> {
    let header = tenant.run_header(run_id(id)?).await?;
    match header.state.is_terminal() {
        true => Err(Error::Conflict(format!("the run has ended: {}", header.state.name()))),
        false => Ok(header),
    }
}

/// Whoever is answered 200 may rely on it: an order that follows is carried out after this one.
async fn order(
    app: &App,
    tenant: &Tenant,
    header: RunHeader,
    hold: Hold,
) -> Result<(StatusCode, Json<Value>), Error> {
    let run = header.id;
    let is_shown = |state: RunState| (state == RunState::Paused) == (hold == Hold::Pause);
    let mut state = header.state;
    if !is_shown(state) {
        send(app, run, hold).await?;
    }
    let until = Instant::now() + SHOWN_MAX;
    while !is_shown(state) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        state = tenant.run_header(run).await?.state;
        if state.is_terminal() {
            return Err(Error::Conflict(format!("the run has ended: {}", state.name())));
        }
    }
    let status = if is_shown(state) { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(json!({"id": run, "state": state.name()}))))
}

async fn send(app: &App, run: RunId, hold: Hold) -> Result<(), Error> {
    let order = RunOrder { v: VERSION, run, cancel: false, answered: false, hold: Some(hold) };
    // A run may be paused many times within the time in which a queue drops repetitions.
    cancel::give(&app.bus, &format!("hold:{run}:{}", Uuid::now_v7()), &order).await
}
