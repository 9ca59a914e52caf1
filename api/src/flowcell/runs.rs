//! Durable runs: start, list, look, cancel.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use bus::Queue;
use bus::subjects::Subjects;
use domain::id::{FlowId, RunId};
use domain::plan::{Isolation, UnknownIsolation};
use domain::run::RunState;
use domain::time::Timestamp;
use proto::http::{RunAccepted, RunLinks, RunView, StartRun};
use serde_json::{Value, json};
use store::{
    Concurrency, Flow, FlowFilter, Page, RUNS_COUNTED_MAX, RunCursor, RunFilter, Tenant, Turn,
};

use super::view;
use crate::app::App;
use crate::auth::Principal;
use crate::cancel;
use crate::error::Error;
use crate::extract::{Params, Raw};
use crate::start_run::{self, Ask, Pause, Started, Terms};

const KEY_HEADER: &str = "idempotency-key";
const KEY_BYTES_MAX: usize = 255;

/// Longest delay: a year.
const DELAY_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;

/// Priorities lie between this and its negative.
const PRIORITY_MAX: i32 = 100;

const LIMIT: u64 = 50;
const LIMIT_MAX: u64 = 500;

/// An offset makes the database pass over as many runs.
const OFFSET_MAX: u64 = 10_000;

/// `POST /api/flowcell/v1/runs`.
pub(crate) async fn start(
    State(app): State<App>,
    principal: Principal,
    headers: HeaderMap,
    body: Raw,
) -> Result<(StatusCode, Json<RunAccepted>), Error> {
    let idempotency_key = idempotency_key(&headers)?;
    let wanted: StartRun = body.json()?;
    check(&wanted)?;
    let tenant = app.tenant(&principal);
    let flow = found(tenant.find_flow_header(&wanted.flow).await, &wanted.flow)?;
    let now = store::now();
    // The time that a run was told to wait is none of its own.
    let delay = Duration::from_millis(wanted.delay_ms.unwrap_or(0));
    let deadline = now + delay + app.config.run_deadline(wanted.deadline_ms);
    let terms = Terms {
        deadline,
        idempotency_key,
        pause: Pause::Allowed,
        tweaks: app.config.tweaks_policy,
        turn: turn(&wanted, now)?,
        detached: true,
        now,
    };
    let started = start_run::start(&app, &principal, &flow, ask(wanted), terms).await?;
    accepted(&tenant, started).await
}

/// The answer to whoever started a run: 202, or 200 where an earlier request did.
pub(super) async fn accepted(
    tenant: &Tenant,
    started: Started,
) -> Result<(StatusCode, Json<RunAccepted>), Error> {
    let (status, state) = match started.existing {
        false => (StatusCode::ACCEPTED, RunState::Queued),
        true => (StatusCode::OK, tenant.run_header(started.run).await?.state),
    };
    let accepted = RunAccepted {
        id: started.run.to_string(),
        state: state.name().to_owned(),
        links: RunLinks::of(started.run),
        warnings: started.warnings,
    };
    Ok((status, Json(accepted)))
}

/// `GET /api/flowcell/v1/runs`: newest first, without tasks and results.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(&principal);
    let flow = match params.text("flow") {
        Some(name) => Some(find(&tenant, name).await?.header.id),
        None => None,
    };
    let state = match params.text("state") {
        Some(name) => Some(RunState::named(name).ok_or_else(|| {
            let names: Vec<&str> = RunState::ALL.into_iter().map(RunState::name).collect();
            Error::BodyInvalid(format!("state must be one of {}", names.join(", ")))
        })?),
        None => None,
    };
    let session_id = params.text("session_id").map(str::to_owned);
    let parent = params.text("parent_id").map(run_id).transpose()?;
    let rerun_of = params.text("rerun_of").map(run_id).transpose()?;
    let dead_letter = params.flag("dead_letter", false)?;
    let after = params.text("after").map(cursor).transpose()?;
    let page = Page {
        limit: params.number("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
        offset: params.number("offset")?.unwrap_or(0),
    };
    if page.offset > OFFSET_MAX {
        let why = format!("offset is at most {OFFSET_MAX}: pass an answer's next as after instead");
        return Err(Error::BodyInvalid(why));
    }
    let listing = tenant
        .runs(&RunFilter { flow, state, session_id, parent, rerun_of, dead_letter, after }, page)
        .await?;
    let flows = tenant.flows(&FlowFilter::default(), Page::all()).await?.items;
    let names: HashMap<FlowId, String> =
        flows.into_iter().map(|flow| (flow.id, flow.name)).collect();
    let name = |flow| names.get(&flow).cloned().unwrap_or_default();
    let items: Vec<RunView> =
        listing.items.iter().map(|run| view::header(run, name(run.flow))).collect();
    let next = listing.next.map(|place| format!("{}-{}", place.created.millis(), place.id));
    let (total, exact) = (listing.total, listing.total < RUNS_COUNTED_MAX);
    Ok(Json(json!({"items": items, "next": next, "total": total, "total_is_exact": exact})))
}

/// `GET /api/flowcell/v1/runs/{id}`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<RunView>, Error> {
    let tenant = app.tenant(&principal);
    let stored = tenant.run(run_id(&id)?).await?;
    Ok(Json(view::whole(&app, &tenant, &stored).await?))
}

/// `POST /api/flowcell/v1/runs/{id}/cancel`: 202; on an ended run 200 and nothing happens.
pub(crate) async fn cancel(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let tenant = app.tenant(&principal);
    let header = tenant.run_header(run_id(&id)?).await?;
    let answer = json!({"id": header.id, "state": header.state.name()});
    if header.state.is_terminal() {
        return Ok((StatusCode::OK, Json(answer)));
    }
    cancel::cancel(&app.bus, header.id).await?;
    tenant.close_questions(header.id).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// The place that an earlier answer gave as `next`.
fn cursor(text: &str) -> Result<RunCursor, Error> {
    let parts = text.split_once('-');
    let read = |(created, id): (&str, &str)| {
        Some(RunCursor { created: Timestamp(created.parse().ok()?), id: id.parse().ok()? })
    };
    let unknown = || Error::BodyInvalid("after must be the next of an earlier answer".to_owned());
    parts.and_then(read).ok_or_else(unknown)
}

/// The run that a path names. What is no id names no run.
pub(super) fn run_id(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| Error::RunNotFound)
}

/// The flow of this id, endpoint name or name.
pub(super) async fn find(tenant: &Tenant, name: &str) -> Result<Flow, Error> {
    found(tenant.find_flow(name).await, name)
}

/// What was found under this name.
fn found<T>(flow: Result<T, store::Error>, name: &str) -> Result<T, Error> {
    match flow {
        Err(store::Error::NotFound { .. }) => {
            Err(Error::FlowNotFound { name: Some(name.to_owned()) })
        }
        found => Ok(found?),
    }
}

/// The key under which a repeated request starts no second run.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let is_key = |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len());
    match value.to_str().ok().filter(is_key) {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let text = "Idempotency-Key must be 1 to 255 visible ASCII characters";
            Err(Error::BodyInvalid(text.to_owned()))
        }
    }
}

fn check(wanted: &StartRun) -> Result<(), Error> {
    let one_of = |field: &str, value: &Option<String>, names: &[&str]| match value.as_deref() {
        Some(name) if !names.contains(&name) => {
            Err(Error::BodyInvalid(format!("{field} must be one of {}", names.join(", "))))
        }
        _ => Ok(()),
    };
    one_of("input_type", &wanted.input_type, &["chat", "text", "any"])?;
    one_of("output_type", &wanted.output_type, &["chat", "text", "any", "debug"])?;
    wanted.isolation.as_deref().map(isolation).transpose()?;
    if wanted.delay_ms.is_some_and(|delay| delay > DELAY_MS_MAX) {
        return Err(Error::BodyInvalid(format!("delay_ms must be at most {DELAY_MS_MAX}")));
    }
    check_deadline(wanted.deadline_ms)
}

pub(super) fn check_deadline(ms: Option<u64>) -> Result<(), Error> {
    match ms {
        Some(0) => Err(Error::BodyInvalid("deadline_ms must be at least 1".to_owned())),
        Some(_) | None => Ok(()),
    }
}

/// How the run asks to take its turn.
fn turn(wanted: &StartRun, now: Timestamp) -> Result<Turn, Error> {
    let priority = wanted.priority.unwrap_or(0);
    if priority.abs() > PRIORITY_MAX {
        let text = format!("priority must be from -{PRIORITY_MAX} to {PRIORITY_MAX}");
        return Err(Error::BodyInvalid(text));
    }
    let concurrency = wanted.concurrency.as_ref().map(|limit| {
        let is_key = (1..=KEY_BYTES_MAX).contains(&limit.key.len());
        if !is_key || limit.limit == 0 {
            let text = "concurrency needs a key of 1 to 255 bytes and a limit of at least 1";
            return Err(Error::BodyInvalid(text.to_owned()));
        }
        Ok(Concurrency { key: limit.key.clone(), most: limit.limit })
    });
    Ok(Turn {
        priority,
        not_before: wanted.delay_ms.map(|delay| now + Duration::from_millis(delay)),
        pool: wanted.pool.as_deref().map(pool).transpose()?,
        concurrency: concurrency.transpose()?,
        ..Turn::default()
    })
}

/// The pool of this name. Whether it has workers is not asked: they may come later.
pub(super) fn pool(name: &str) -> Result<String, Error> {
    let queue = Queue::Tasks { pool: name.to_owned(), depth: 0 };
    match Subjects::default().queue(&queue) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(Error::BodyInvalid("pool must be 1 to 48 letters, digits and -".to_owned())),
    }
}

/// The isolation of this name.
pub(super) fn isolation(name: &str) -> Result<Isolation, Error> {
    name.parse().map_err(|error: UnknownIsolation| Error::BodyInvalid(error.to_string()))
}

fn ask(wanted: StartRun) -> Ask {
    Ask {
        isolation: wanted.isolation.as_deref().and_then(|name| name.parse().ok()),
        input_value: wanted.input_value,
        input_type: wanted.input_type,
        output_type: wanted.output_type,
        output_component: wanted.output_component,
        start_component_id: wanted.start_component_id,
        stop_component_id: wanted.stop_component_id,
        tweaks: wanted.tweaks,
        session_id: wanted.session_id,
        stream: wanted.stream,
        ..Ask::default()
    }
}
