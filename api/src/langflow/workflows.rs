//! Langflow's workflows (`/api/v2/workflows`): runs in the background that may wait for a person,
//! and runs that are waited for.
//!
//! ```text
//! POST ──▶ job ── GET ?job_id ──▶ queued | in_progress | suspended | … | the answer
//!           │                        suspended: GET /pending shows what is asked,
//!           └── POST /stop           POST /{job}/resume answers it
//! ```
//!
//! A job is a run, and its id the run's. Langflow's streams of these routes are not served: their
//! events are those of its editor. The events of a run are under `/api/flowcell/v1/runs`.

mod answer;
mod request;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::human;
use domain::id::{FlowId, RunId};
use domain::run::RunState;
use proto::run::RunRequest;
use serde_json::{Value, json};
use store::{Flow, Page, PendingRequest, RunFilter, RunHeader, RunView, Tenant, Turn};

use self::request::{Mode, Wanted};
use super::run::{Leaving, Outcome, ended, outcome};
use crate::app::App;
use crate::auth::Principal;
use crate::cancel;
use crate::decide;
use crate::error::{Error, Issue, internal};
use crate::extract::{Params, Raw};
use crate::flowcell::runs::idempotency_key;
use crate::start_run::{self, Pause, Terms};

/// How long an order to a run may take to show in its state. Langflow changes the state before it
/// answers, and clients rely on it.
const SHOWN_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// `POST /api/v2/workflows`.
pub(crate) async fn start(
    State(app): State<App>,
    principal: Principal,
    headers: HeaderMap,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let mut wanted = request::read(&body)?;
    // Langflow's field, or the header as on every other route that starts a run.
    wanted.idempotency_key = wanted.idempotency_key.or(idempotency_key(&headers)?);
    let tenant = app.tenant(&principal);
    let flow = find(&tenant, wanted.flow).await?;
    match wanted.mode {
        Mode::Background => background(&app, &principal, &flow, wanted).await,
        Mode::Sync => sync(&app, &principal, &flow, wanted).await,
    }
}

async fn background(
    app: &App,
    principal: &Principal,
    flow: &Flow,
    wanted: Wanted,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(principal);
    let session = wanted.ask.session_id.clone();
    let now = store::now();
    let terms = Terms {
        deadline: now + app.config.run_deadline(None),
        idempotency_key: wanted.idempotency_key,
        pause: Pause::Allowed,
        tweaks: app.config.tweaks_policy,
        turn: Turn::default(),
        detached: true,
        now,
    };
    let started = start_run::start(app, principal, &flow.header, wanted.ask, terms).await?;
    // A repetition takes no place: the run that waits may be the very one that it names.
    if !started.existing {
        supersede(app, &tenant, flow, session.as_deref(), started.run).await?;
    }
    Ok(Json(answer::job(flow.header.id, started.run, "queued", now)))
}

/// As in Langflow, a new run of a conversation takes the place of one that waits in it: nobody
/// would answer the old question any more.
async fn supersede(
    app: &App,
    tenant: &Tenant,
    flow: &Flow,
    session: Option<&str>,
    run: RunId,
) -> Result<(), Error> {
    let flow_id = flow.header.id.to_string();
    let filter = RunFilter {
        flow: Some(flow.header.id),
        state: Some(RunState::Suspended),
        session_id: Some(domain::input::session(session, &flow_id).to_owned()),
        ..RunFilter::default()
    };
    let waiting = tenant.runs(&filter, Page::all()).await?.items;
    for waiting in waiting.into_iter().filter(|waiting| waiting.id != run) {
        cancel::cancel(&app.bus, waiting.id).await?;
        tenant.close_questions(waiting.id).await?;
    }
    Ok(())
}

async fn sync(
    app: &App,
    principal: &Principal,
    flow: &Flow,
    wanted: Wanted,
) -> Result<Json<Value>, Error> {
    let now = store::now();
    let tenant = app.tenant(principal);
    let tweaks = Value::Object(wanted.ask.tweaks.clone());
    let variables = wanted.globals;
    let terms = Terms {
        deadline: now + app.config.sync_run_max(),
        idempotency_key: wanted.idempotency_key,
        pause: Pause::Refused,
        tweaks: app.config.tweaks_policy,
        turn: Turn::default(),
        detached: false,
        now,
    };
    let leaving = Leaving::of(app, terms.idempotency_key.as_ref(), false);
    let run = start_run::start(app, principal, &flow.header, wanted.ask, terms).await?.run;
    let mut guard = leaving.guard(app, run);
    let header = ended(app, &tenant, run).await?;
    guard.release();
    let mut body = match outcome(&header) {
        Outcome::Completed => {
            let view = tenant.run(run).await?;
            answer::completed(app, &tenant, &view, &wanted.output_ids, answer::Unbuilt::Listed)
                .await?
        }
        Outcome::Failed { message } | Outcome::NotBuilt { message } => {
            answer::failed(&header, &message)
        }
        Outcome::TimedOut => return Err(timed_out(&header)),
    };
    if let Some(body) = body.as_object_mut() {
        body.insert("inputs".to_owned(), tweaks);
        body.insert("globals".to_owned(), variables);
    }
    Ok(Json(body))
}

/// `GET /api/v2/workflows?job_id=`.
pub(crate) async fn status(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Value>, Error> {
    let Some(text) = params.text("job_id") else {
        return Err(Error::worded(
            StatusCode::BAD_REQUEST,
            json!({
                "error": "Missing required parameter",
                "code": "MISSING_PARAMETER",
                "message": "Job ID must be provided",
            }),
        ));
    };
    let run: RunId = text.parse().map_err(|_| no_job_id("query"))?;
    let tenant = app.tenant(&principal);
    let error = "Workflow job not found";
    let view = found(tenant.run(run).await, error, run)?;
    let body = match view.header.state {
        RunState::Completed => {
            answer::completed(&app, &tenant, &view, &[], answer::Unbuilt::LeftOut).await?
        }
        RunState::Failed => return Err(job_failed(&view.header)),
        RunState::TimedOut => return Err(timed_out(&view.header)),
        state @ (RunState::Queued
        | RunState::Running
        | RunState::Suspended
        | RunState::Paused
        | RunState::Cancelled) => {
            let header = &view.header;
            answer::job(header.flow, header.id, name(state), header.created)
        }
    };
    Ok(Json(body))
}

/// `POST /api/v2/workflows/stop`.
pub(crate) async fn stop(
    State(app): State<App>,
    principal: Principal,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let body = body.object()?;
    let text = body.get("job_id").ok_or_else(|| Issue::missing("job_id"))?;
    let run: RunId =
        text.as_str().and_then(|id| id.parse().ok()).ok_or_else(|| no_job_id("body"))?;
    let tenant = app.tenant(&principal);
    let view = found(tenant.run(run).await, "Job not found", run)?;
    if !may_pause(&view)? {
        return Err(Error::worded(
            StatusCode::CONFLICT,
            json!({
                "error": "Job cannot be stopped",
                "code": "JOB_NOT_CANCELLABLE",
                "message": "Only background workflow jobs can be stopped.",
                "job_id": run,
                "mode": "sync",
            }),
        ));
    }
    let message = match view.header.state {
        RunState::Cancelled => format!("Job {run} is already cancelled."),
        state if state.is_terminal() => format!("Job {run} already finished ({}).", name(state)),
        _ => {
            cancel::cancel(&app.bus, run).await?;
            tenant.close_questions(run).await?;
            shown(&tenant, run, RunState::is_terminal).await?;
            format!("Job {run} cancelled successfully.")
        }
    };
    Ok(Json(json!({"job_id": run, "message": message})))
}

/// `GET /api/v2/workflows/pending?flow_id=`: what runs of a flow ask, and nobody has answered.
pub(crate) async fn pending(
    State(app): State<App>,
    principal: Principal,
    params: Params,
) -> Result<Json<Vec<Value>>, Error> {
    params.required("flow_id")?;
    let flow: Option<FlowId> = params.id("flow_id")?;
    let asked = app.tenant(&principal).pending_requests(flow, None).await?;
    Ok(Json(asked.iter().map(question).collect()))
}

fn question(asked: &PendingRequest) -> Value {
    let request = &asked.request.request;
    let of = |key: &str| request.get(key).cloned().unwrap_or_default();
    let list = |key: &str| match of(key) {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    json!({
        "job_id": asked.run,
        "flow_id": asked.flow,
        "session_id": asked.session_id,
        "created_at": answer::without_zone(asked.created),
        "request_id": asked.request.request_id,
        "kind": of("kind"),
        "prompt": of("prompt"),
        "options": list("options"),
        "allowed_decisions": list("allowed_decisions"),
    })
}

/// `POST /api/v2/workflows/{job}/resume`.
pub(crate) async fn resume(
    State(app): State<App>,
    principal: Principal,
    Path(job): Path<String>,
    body: Raw,
) -> Result<Json<Value>, Error> {
    let answer = request::answer(&body)?;
    let missing = || {
        let error = "Workflow job not found";
        let detail = json!({"error": error, "code": "JOB_NOT_FOUND", "job_id": job});
        Error::worded(StatusCode::NOT_FOUND, detail)
    };
    let run: RunId = job.parse().map_err(|_| missing())?;
    let tenant = app.tenant(&principal);
    let requests = match tenant.human_requests(run).await {
        Err(store::Error::NotFound { .. }) => return Err(missing()),
        requests => requests?,
    };
    // As in Langflow: what is wrong with the decision is said before what is wrong with the run,
    // and the latest question says what may be decided.
    let waiting = requests.iter().find(|asked| asked.decision.is_none());
    let named = requests.iter().find(|asked| asked.request_id == answer.request_id);
    let latest = named.or(waiting).or(requests.last());
    if latest.is_some_and(|asked| !human::is_allowed(&asked.request, &answer.decision)) {
        return Err(Error::worded(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({
                "error": "Invalid decision",
                "code": "INVALID_DECISION",
                "message": "decision.action_id is not one of the pending request's \
                            allowed_decisions.",
                "job_id": run,
            }),
        ));
    }
    let asked = named.filter(|asked| asked.decision.is_none()).ok_or_else(|| not_resumable(run))?;
    match decide::decide(&app, &tenant, run, asked, &answer.decision).await {
        Ok(store::Decided::Now) => {}
        Ok(store::Decided::Before) | Err(Error::Conflict(_)) => return Err(not_resumable(run)),
        Err(error) => return Err(error),
    }
    shown(&tenant, run, |state| state != RunState::Suspended).await?;
    Ok(Json(json!({"job_id": run, "status": "resuming", "message": "Resume accepted"})))
}

fn not_resumable(run: RunId) -> Error {
    Error::worded(
        StatusCode::CONFLICT,
        json!({
            "error": "Job is not resumable",
            "code": "NOT_RESUMABLE",
            "message": "Job is not suspended, already resumed, or the request_id is stale.",
            "job_id": run,
        }),
    )
}

/// Waits until what was ordered shows in the run's state; it happens in any case.
async fn shown(
    tenant: &Tenant,
    run: RunId,
    is_shown: impl Fn(RunState) -> bool,
) -> Result<(), Error> {
    let until = tokio::time::Instant::now() + SHOWN_MAX;
    while !is_shown(tenant.run_header(run).await?.state) && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn find(tenant: &Tenant, id: FlowId) -> Result<Flow, Error> {
    match tenant.flow(id).await {
        Err(store::Error::NotFound { .. }) => Err(Error::worded(
            StatusCode::NOT_FOUND,
            json!({
                "error": "Flow not found",
                "code": "FLOW_NOT_FOUND",
                "message": format!(
                    "Flow '{id}' does not exist. Verify the flow_id and try again."
                ),
                "flow_id": id,
            }),
        )),
        flow => Ok(flow?),
    }
}

fn found(
    view: Result<RunView, store::Error>,
    error: &'static str,
    run: RunId,
) -> Result<RunView, Error> {
    match view {
        Err(store::Error::NotFound { .. }) => Err(Error::worded(
            StatusCode::NOT_FOUND,
            json!({
                "error": error,
                "code": "JOB_NOT_FOUND",
                "message": format!("{} {run} not found", error.trim_end_matches(" not found")),
                "job_id": run,
            }),
        )),
        view => Ok(view?),
    }
}

fn no_job_id(place: &'static str) -> Error {
    Issue {
        kind: "value_error",
        place: vec![place.into(), "job_id".into()],
        message: "Value error, Invalid job_id, must be a UUID".to_owned(),
        expected: None,
    }
    .into()
}

fn job_failed(header: &RunHeader) -> Error {
    let run = header.id;
    let failure = header.failure.as_ref();
    Error::worded(
        StatusCode::INTERNAL_SERVER_ERROR,
        json!({
            "error": "Job failed",
            "code": "JOB_FAILED",
            "message": format!("Job {run} has failed execution."),
            "job_id": run,
            "error_detail": failure.map(|failure| json!({
                "type": failure.kind.code(),
                "message": failure.message,
                "node": failure.node,
                "component": failure.component,
            })),
        }),
    )
}

fn timed_out(header: &RunHeader) -> Error {
    Error::worded(
        StatusCode::REQUEST_TIMEOUT,
        json!({
            "error": "Execution timeout",
            "code": "EXECUTION_TIMEOUT",
            "message": "Workflow execution timed out",
            "job_id": header.id,
            "flow_id": header.flow,
        }),
    )
}

/// Whether the run was started in the background: nobody holds a connection for it.
fn may_pause(view: &RunView) -> Result<bool, Error> {
    let request: RunRequest = serde_json::from_value(view.request.clone())
        .map_err(|error| internal("reading a stored run request", &error))?;
    Ok(request.may_pause)
}

/// A run's state in Langflow's words.
fn name(state: RunState) -> &'static str {
    match state {
        // Langflow knows no pause.
        RunState::Running | RunState::Paused => "in_progress",
        state => state.name(),
    }
}
