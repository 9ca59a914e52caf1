//! `POST /api/v1/run/{id or endpoint name}`: run a flow and wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect, Response};
use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use domain::run::RunState;
use serde_json::json;
use store::{FlowHeader, RunHeader, Secret, Tenant, Turn};

use super::{run_body, run_stream};
use crate::app::App;
use crate::auth::Principal;
use crate::cancel::Guard;
use crate::error::{Error, NEEDS_PERSON};
use crate::events::Events;
use crate::extract::Params;
use crate::flowcell::runs::idempotency_key;
use crate::python;
use crate::result;
use crate::start_run::{self, Pause, Started, Terms};

/// The route.
pub(crate) async fn run(
    State(app): State<App>,
    principal: Principal,
    Path(name): Path<String>,
    params: Params,
    request: Request,
) -> Result<Response, Error> {
    let tenant = app.tenant(&principal);
    let flow = find(&tenant, &name).await?;
    let is_stream = params.flag("stream", false)?;
    let variables = variables(request.headers());
    let idempotency_key = idempotency_key(request.headers())?;
    let leaving = Leaving::of(&app, idempotency_key.as_ref(), is_stream);
    let mut ask = run_body::read(request).await?;
    ask.stream = is_stream;
    ask.variables = variables;
    let now = store::now();
    let deadline = now + app.config.sync_run_max();
    let terms = Terms {
        deadline,
        idempotency_key,
        pause: Pause::Refused,
        tweaks: app.config.tweaks_policy,
        turn: Turn::default(),
        detached: false,
        now,
    };
    let started = start_run::start(&app, &principal, &flow, ask, terms).await;
    if !is_stream {
        return plain(&app, &tenant, started?.run, leaving).await;
    }
    match started {
        Ok(Started { run, .. }) => Ok(run_stream::follow(&app, tenant, run, leaving).await?),
        // Langflow finds these out when its answer has begun.
        Err(Error::TweakConflict(text)) => Ok(single_error(text)),
        Err(Error::TweaksRefused { message, fields }) => {
            let fields = python::repr_list(&fields);
            Ok(single_error(&format!("Refused tweak keys {fields}: {message}")))
        }
        Err(Error::NeedsPerson) => Ok(single_error(&format!("400: {NEEDS_PERSON}"))),
        Err(error) => Err(error),
    }
}

/// What becomes of a run whose caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Cancels,
    /// Others may wait for it, or its caller comes back.
    GoesOn,
}

impl Leaving {
    /// Langflow ends the run of a stream that nobody reads. Whoever names a run by a key means to
    /// ask for it again.
    pub(super) fn of(app: &App, idempotency_key: Option<&String>, is_stream: bool) -> Self {
        match idempotency_key {
            None if is_stream || app.config.cancel_abandoned_runs => Self::Cancels,
            None | Some(_) => Self::GoesOn,
        }
    }

    pub(super) fn guard(self, app: &App, run: RunId) -> Guard {
        let mut guard = Guard::new(app, run);
        if self == Self::GoesOn {
            guard.release();
        }
        guard
    }
}

/// Header names arrive in lower case.
const VARIABLE: &str = "x-langflow-global-var-";

/// Values that go before stored variables, as Langflow reads them: the rest of the header's name
/// in upper case, bytes as Latin-1, of several the last.
fn variables(headers: &HeaderMap) -> BTreeMap<String, Secret> {
    let given = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(VARIABLE)?.to_uppercase();
        let value: String = value.as_bytes().iter().copied().map(char::from).collect();
        Some((name, Secret::new(value)))
    });
    given.collect()
}

/// `POST /api/v1/run/{name}/`: Langflow's router leads to the path without the slash.
pub(crate) async fn redirect(
    _: Principal,
    Path(_name): Path<String>,
    uri: axum::http::Uri,
) -> Redirect {
    let path = uri.path().trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::temporary(&format!("{path}{query}"))
}

/// Langflow's ways to name a flow: its id or its endpoint name, not its plain name.
pub(super) async fn find(tenant: &Tenant, name: &str) -> Result<FlowHeader, Error> {
    let not_found = || Error::FlowNotFound { name: Some(name.to_owned()) };
    let flow = match tenant.find_flow_header(name).await {
        Err(store::Error::NotFound { .. }) => return Err(not_found()),
        found => found?,
    };
    let is_id = name.parse() == Ok(flow.id);
    if is_id || flow.endpoint_name.as_deref() == Some(name) {
        return Ok(flow);
    }
    Err(not_found())
}

async fn plain(
    app: &App,
    tenant: &Tenant,
    run: RunId,
    leaving: Leaving,
) -> Result<Response, Error> {
    let mut guard = leaving.guard(app, run);
    let header = ended(app, tenant, run).await?;
    guard.release();
    match outcome(&header) {
        Outcome::Completed => Ok(Json(result::response(app, tenant, run).await?).into_response()),
        Outcome::TimedOut => Err(Error::RunTimedOut),
        Outcome::Failed { message } | Outcome::NotBuilt { message } => {
            let outdated = outdated(app, tenant, &header).await;
            Err(Error::RunFailed { message, outdated })
        }
    }
}

/// Waits for a run's end. The log tells at once; the row, looked at now and then, in any case.
pub(super) async fn ended(app: &App, tenant: &Tenant, run: RunId) -> Result<RunHeader, Error> {
    const LOOK: Duration = Duration::from_secs(1);
    let mut events = Events::open(app, tenant.clone(), run, 0).await?;
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    loop {
        tokio::select! {
            entry = events.next() => {
                if entry?.is_none_or(|entry| entry.is_terminal()) {
                    return settled(tenant, run).await;
                }
            }
            _ = look.tick() => {
                let header = tenant.run_header(run).await?;
                if header.state.is_terminal() {
                    return Ok(header);
                }
            }
            () = app.stop.cancelled() => {
                return Err(Error::Unavailable("the server stops".to_owned()));
            }
        }
    }
}

/// The row of a run of which the log says that it ended. The row is written first, so it agrees,
/// unless a replica of the database lags.
pub(super) async fn settled(tenant: &Tenant, run: RunId) -> Result<RunHeader, Error> {
    const LOOKS: u32 = 50;
    for _ in 0..LOOKS {
        let header = tenant.run_header(run).await?;
        if header.state.is_terminal() {
            return Ok(header);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Error::Unavailable("the run's row lags behind its log".to_owned()))
}

/// The nodes that Langflow suggests to update when a run fails.
pub(super) async fn outdated(app: &App, tenant: &Tenant, header: &RunHeader) -> Vec<String> {
    let version = app.versions.get(tenant, header.version).await;
    version.map(|version| version.outdated.clone()).unwrap_or_default()
}

/// How a run ended, in the terms of Langflow's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Completed,
    /// While running.
    Failed {
        message: String,
    },
    /// Before anything ran: a component's class could not be made, or its input may not be read.
    NotBuilt {
        message: String,
    },
    TimedOut,
}

pub(super) fn outcome(header: &RunHeader) -> Outcome {
    match header.state {
        RunState::Completed => Outcome::Completed,
        RunState::TimedOut => Outcome::TimedOut,
        RunState::Cancelled => {
            Outcome::Failed { message: "Error running graph: the run was cancelled".to_owned() }
        }
        RunState::Failed
        | RunState::Queued
        | RunState::Running
        | RunState::Suspended
        | RunState::Paused => {
            let unknown = "the run failed";
            let is_input = |failure: &Failure| failure.kind == FailureKind::InputInvalid;
            let is_input = header.failure.as_ref().is_some_and(is_input);
            let words = |failure: &Failure| failure.message.clone();
            let words = header.failure.as_ref().map_or_else(|| unknown.to_owned(), words);
            if is_input || words.starts_with("Error creating class") {
                return Outcome::NotBuilt { message: words };
            }
            if words.starts_with("Error running graph: ") {
                return Outcome::Failed { message: words };
            }
            Outcome::Failed { message: format!("Error running graph: {words}") }
        }
    }
}

fn single_error(text: &str) -> Response {
    let event = json!({"event": "error", "data": {"error": text}});
    let headers = [(CONTENT_TYPE, run_stream::CONTENT)];
    (headers, run_stream::event_text(&event)).into_response()
}
