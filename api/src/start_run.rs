//! Starting a run: the one use-case behind every protocol.
//!
//! ```text
//! flow ─▶ current version (planned when new) ─▶ tweaks tried on a copy ─▶ row + tasks, one
//!         transaction ─▶ a message at once; without it a round of admission finds the run
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use bus::Queue;
use bytes::Bytes;
use domain::admission::FlowSettings;
use domain::flow::Graph;
use domain::id::RunId;
use domain::input::{self, InputType};
use domain::pause::waits_for_a_person;
use domain::plan::{Cell, Isolation};
use domain::retry::RetryPolicy;
use domain::terms::{TaskTerms, Terms as TermsOf};
use domain::time::Timestamp;
use domain::tweaks;
use proto::message::{RunSubmitted, VERSION};
use proto::run::RunRequest;
use serde_json::{Map, Value};
use store::{FlowHeader, NewRun, NewTask, Secret, Tenant, Turn};

use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, internal};
use crate::flowcell::limits;
use crate::trace;
use crate::turns;
use crate::versions::Version;

/// What a caller asks for, not yet resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) input_value: Option<String>,
    pub(crate) input_type: Option<String>,
    pub(crate) output_type: Option<String>,
    pub(crate) output_component: Option<String>,
    pub(crate) start_component_id: Option<String>,
    pub(crate) stop_component_id: Option<String>,
    pub(crate) tweaks: Map<String, Value>,
    pub(crate) session_id: Option<String>,
    pub(crate) stream: bool,
    /// Values in place of stored variables, for this run.
    pub(crate) variables: BTreeMap<String, Secret>,
    /// How much of the run shares a container; the platform's default when absent.
    pub(crate) isolation: Option<Isolation>,
}

/// An accepted run.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) run: RunId,
    /// Whether an idempotency key named an earlier run.
    pub(crate) existing: bool,
    /// What its runtime changes for the flow.
    pub(crate) warnings: Vec<String>,
}

/// Whether a run may wait for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Allowed,
    /// Somebody holds a connection open, or nobody would see the question.
    Refused,
}

/// How the run is accepted.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) deadline: Timestamp,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) pause: Pause,
    /// Which fields the tweaks may set.
    pub(crate) tweaks: tweaks::Policy,
    /// How it asks to take its turn.
    pub(crate) turn: Turn,
    /// Whether nobody waits for its end.
    pub(crate) detached: bool,
    pub(crate) now: Timestamp,
}

/// Accepts a run of a flow and tells the schedulers.
pub(crate) async fn start(
    app: &App,
    principal: &Principal,
    flow: &FlowHeader,
    ask: Ask,
    terms: Terms,
) -> Result<Started, Error> {
    let tenant = app.tenant(principal);
    let version = app.versions.current_of(&tenant, flow).await?;
    let set = tenant.run_settings(flow.id).await?;
    let isolation = ask.isolation.unwrap_or(app.config.isolation);
    let run = RunId(store::id_in_order());
    let variables = tenant.seal_for_run(run, &ask.variables).await?;
    let may_pause = terms.pause == Pause::Allowed;
    let request = RunRequest { variables, may_pause, ..resolve(flow, ask) };
    let input_type = input_type(&request.input_type);
    tweaks::check_input(&request.tweaks, request.input_value.is_some(), input_type)?;
    check_ends(&version.graph, &request)?;
    check(&version.graph, &request, &terms)?;
    let retry = app.config.retry.with(&set.flow.retry);
    let tasks = tasks(&version, isolation, &set.flow, &retry)?;
    let pool = terms.turn.pool.or_else(|| set.flow.pool.clone()).or_else(|| only_pool(&tasks));
    let turn = Turn { pool, ..terms.turn };
    let new = NewRun {
        id: run,
        flow: flow.id,
        version: version.id,
        tasks,
        session_id: request.session_id.clone(),
        request: serde_json::to_value(&request)
            .map_err(|error| internal("writing a run request", &error))?,
        deadline: terms.deadline,
        retry,
        limits: limits::of_run(&app.config, &set),
        isolation: isolation.name().to_owned(),
        idempotency_key: terms.idempotency_key,
        parent: None,
        again: None,
        detached: terms.detached,
        turn: turns::take(app, principal, &set.tenant, turn).await?,
        submitted_by: Some(principal.user),
        now: terms.now,
    };
    let warnings = version.warning.iter().map(ToString::to_string).collect();
    submit(app, &tenant, new, warnings).await
}

/// A task for each cell of the plan, on the terms that are set for the flow and its nodes.
fn tasks(
    version: &Version,
    isolation: Isolation,
    settings: &FlowSettings,
    retry: &RetryPolicy,
) -> Result<Vec<NewTask>, Error> {
    let plan = version.plans.under(isolation);
    let terms = TermsOf { graph: &version.graph, settings, retry };
    let terms = terms.of_plan(plan).map_err(|conflict| Error::BodyInvalid(conflict.to_string()))?;
    let task = |(cell, terms): (&Cell, TaskTerms)| NewTask {
        cell: cell.id.clone(),
        depends_on: cell.depends_on.clone(),
        terms,
    };
    Ok(plan.cells.iter().zip(terms).map(task).collect())
}

/// The pool of all tasks, where they have one: the run waits for its turn there, and not for
/// workers that it does not need.
fn only_pool(tasks: &[NewTask]) -> Option<String> {
    let first = tasks.first()?.terms.pool.as_ref()?;
    tasks.iter().all(|task| task.terms.pool.as_ref() == Some(first)).then(|| first.clone())
}

/// A run that starts or stops nowhere would build nothing and say nothing.
fn check_ends(graph: &Graph, request: &RunRequest) -> Result<(), Error> {
    let (start, stop) = (&request.start_component_id, &request.stop_component_id);
    for (field, node) in [("start_component_id", start), ("stop_component_id", stop)] {
        if let Some(node) = node.as_deref().filter(|node| graph.node(node).is_none()) {
            return Err(Error::BodyInvalid(format!("{field}: the flow has no node {node:?}")));
        }
    }
    Ok(())
}

fn check(graph: &Graph, request: &RunRequest, terms: &Terms) -> Result<(), Error> {
    tweaks::check(graph, &request.tweaks, terms.tweaks)?;
    let tweaked = tweaked(graph, request)?;
    match terms.pause {
        Pause::Refused if waits_for_a_person(&tweaked) => Err(Error::NeedsPerson),
        Pause::Refused | Pause::Allowed => Ok(()),
    }
}

/// The flow with the request's tweaks, on a copy: the engine applies them again when it sends a cell
/// out.
pub(crate) fn tweaked<'g>(
    graph: &'g Graph,
    request: &RunRequest,
) -> Result<Cow<'g, Graph>, tweaks::Error> {
    let mut tweaked = Cow::Borrowed(graph);
    if !request.tweaks.is_empty() {
        tweaks::apply(tweaked.to_mut(), &request.tweaks, Some(request.stream))?;
    }
    Ok(tweaked)
}

/// Accepts a run that is ready to be, and tells the schedulers.
pub(crate) async fn submit(
    app: &App,
    tenant: &Tenant,
    new: NewRun,
    warnings: Vec<String>,
) -> Result<Started, Error> {
    let submitted = tenant.submit(new).await?;
    if !submitted.existing {
        app.metrics.accepted();
        trace::started(submitted.run);
        announce(app, submitted.run).await;
    }
    Ok(Started { run: submitted.run, existing: submitted.existing, warnings })
}

/// Tells the schedulers at once. A failure is no failure of the run: it is committed, and rounds of
/// admission look for what waits.
async fn announce(app: &App, run: RunId) {
    let Ok(body) = serde_json::to_vec(&RunSubmitted { v: VERSION, run, queued: true }) else {
        return;
    };
    let sent = app.bus.enqueue(&Queue::Runs, &format!("run:{run}"), Bytes::from(body)).await;
    if let Err(error) = sent {
        tracing::warn!(run.id = %run, error = %error, "a new run waits for a round of admission");
    }
}

fn resolve(flow: &FlowHeader, ask: Ask) -> RunRequest {
    let flow_id = flow.id.to_string();
    let chat = || "chat".to_owned();
    RunRequest {
        session_id: input::session(ask.session_id.as_deref(), &flow_id).to_owned(),
        input_value: ask.input_value,
        input_type: ask.input_type.unwrap_or_else(chat),
        output_type: ask.output_type.unwrap_or_else(chat),
        output_component: ask.output_component.unwrap_or_default(),
        start_component_id: ask.start_component_id,
        stop_component_id: ask.stop_component_id,
        tweaks: ask.tweaks,
        stream: ask.stream,
        may_pause: false,
        variables: BTreeMap::new(),
        traceparent: trace::cause(),
        child: None,
        rerun: None,
    }
}

/// The input type of this name. Names are checked where requests are read.
pub(crate) fn input_type(name: &str) -> InputType {
    match name {
        "text" => InputType::Text,
        "any" => InputType::Any,
        _ => InputType::Chat,
    }
}
