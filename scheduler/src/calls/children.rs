//! A component runs a flow: the flow becomes a run of its own, whose end the component waits for.
//!
//! ```text
//! flow.run ─▶ row with the parent's task and attempt ─▶ queue, scheduler, workers as any run
//! flow.wait ─▶ still running, or how it ended with the values of the outputs that were asked for
//! ```
//!
//! Both may be repeated: the same request of the same task is the same run.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::Queue;
use bytes::Bytes;
use domain::admission::FlowSettings;
use domain::flow::Graph;
use domain::id::RunId;
use domain::input::InputType;
use domain::pause::waits_for_a_person;
use domain::retry::RetryPolicy;
use domain::run::RunState;
use domain::terms::Terms;
use domain::tweaks;
use proto::frame::ReplyError;
use proto::message::{RunSubmitted, VERSION};
use proto::run::{ChildRequest, RunRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{NewRun, NewTask, Parent, RunHeader, RunRecord, Tenant, Turn, now};
use tokio::time::{Instant, sleep};

use super::{Answer, error, flows, text, told};
use crate::catalog::{Version, isolation};
use crate::engine::Engine;
use crate::error::Error;

/// How long a question for the end is kept, so that most ends are told at once.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Looks at the child's row while a question is kept: soon at first, then less often.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(160);

/// What a component asks for.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    input_value: Option<String>,
    #[serde(default)]
    input_type: InputType,
    #[serde(default)]
    output_type: String,
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    tweaks: Map<String, Value>,
    /// How often this attempt had asked for the same before.
    #[serde(default)]
    repeated: u32,
    #[serde(flatten)]
    child: ChildRequest,
}

/// Starts a run of the flow that the arguments name: `{"run": id}`.
pub(super) async fn run(
    engine: &Engine,
    tenant: &Tenant,
    record: &RunRecord,
    task: u32,
    args: Value,
) -> Result<Answer, Error> {
    if record.depth >= engine.flow_depth_max {
        let max = engine.flow_depth_max;
        let message =
            format!("flows run flows here to a depth of {max}, as `flow_depth_max` allows");
        return Ok(Err(error("limit", message)));
    }
    let flow = match flows::find(tenant, &args).await? {
        Ok(flow) => flow,
        Err(refused) => return Ok(Err(refused)),
    };
    let wanted: Wanted = match serde_json::from_value(args) {
        Ok(wanted) => wanted,
        Err(unreadable) => return Ok(Err(error("invalid", unreadable.to_string()))),
    };
    let (version_id, version) = match engine.catalog.current(tenant, &flow).await? {
        Ok(current) => current,
        Err(why) => return Ok(Err(error("invalid", why))),
    };
    let repeated = wanted.repeated;
    let request = request(wanted)?;
    if let Err(refused) = check(&version.graph, &request) {
        return Ok(Err(refused));
    }
    let (_, settings) = tenant.admission_for(flow.header.id).await?;
    let retry = record.run.retry.with(&settings.retry);
    let new = NewRun {
        id: RunId(store::id_in_order()),
        flow: flow.header.id,
        version: version_id,
        tasks: tasks(&version, record, &settings, &retry)?,
        session_id: request.session_id.clone(),
        request: serde_json::to_value(&request)?,
        deadline: record.run.deadline,
        retry,
        limits: record.limits.clone(),
        isolation: record.isolation.clone(),
        idempotency_key: None,
        parent: Some(parent(record, task, repeated)),
        again: None,
        detached: false,
        // It is where its parent is, and as urgent.
        turn: Turn { pool: record.pool.clone(), priority: record.priority, ..Turn::default() },
        submitted_by: record.user,
        now: now(),
    };
    submit(engine, tenant, new).await
}

fn request(wanted: Wanted) -> Result<RunRequest, Error> {
    let input_type = match wanted.input_type {
        InputType::Chat => "chat",
        InputType::Text => "text",
        InputType::Any => "any",
    };
    Ok(RunRequest {
        may_pause: false,
        input_value: wanted.input_value,
        input_type: input_type.to_owned(),
        output_type: wanted.output_type,
        output_component: String::new(),
        start_component_id: None,
        stop_component_id: None,
        tweaks: wanted.tweaks,
        session_id: wanted.session_id,
        stream: false,
        variables: std::collections::BTreeMap::new(),
        // The run names the attempt that started it; that is its link.
        traceparent: None,
        child: Some(wanted.child),
        rerun: None,
    })
}

/// A component may set what a caller's tweaks may: no code, nothing that runs it.
fn check(graph: &Graph, request: &RunRequest) -> Result<(), ReplyError> {
    let overrides = request.child.iter().flat_map(|child| &child.overrides);
    let overrides: Map<String, Value> =
        overrides.map(|(node, fields)| (node.clone(), Value::Object(fields.clone()))).collect();
    for tweaks in [&request.tweaks, &overrides] {
        tweaks::check(graph, tweaks, tweaks::Policy::Permissive)
            .map_err(|refused| error("refused", refused.to_string()))?;
    }
    if waits_for_a_person(graph) {
        return Err(error("refused", "a flow that waits for a person cannot run inside another"));
    }
    Ok(())
}

fn tasks(
    version: &Version,
    record: &RunRecord,
    settings: &FlowSettings,
    retry: &RetryPolicy,
) -> Result<Vec<NewTask>, Error> {
    let terms = Terms { graph: &version.graph, settings, retry };
    let task = |cell: &domain::plan::Cell| NewTask {
        cell: cell.id.clone(),
        depends_on: cell.depends_on.clone(),
        terms: terms.of_cell_anyhow(cell),
    };
    // Not the parent's plan: that may have been made anew for its run alone.
    Ok(version.under(isolation(record)?).cells.iter().map(task).collect())
}

fn parent(record: &RunRecord, task: u32, repeated: u32) -> Parent {
    Parent {
        run: record.run.id,
        task,
        attempt: record.run.task(task).map_or(0, |task| task.attempt),
        repeated,
        depth: record.depth.saturating_add(1),
    }
}

async fn submit(engine: &Engine, tenant: &Tenant, new: NewRun) -> Result<Answer, Error> {
    let submitted = match tenant.submit(new).await {
        Err(failed @ store::Error::Conflict { .. }) => {
            return Ok(Err(error("refused", failed.to_string())));
        }
        outcome => match told(outcome)? {
            Ok(submitted) => submitted,
            Err(refused) => return Ok(Err(refused)),
        },
    };
    if !submitted.existing {
        let run = submitted.run;
        let body =
            Bytes::from(serde_json::to_vec(&RunSubmitted { v: VERSION, run, queued: false })?);
        if let Err(error) = engine.bus.enqueue(&Queue::Runs, &format!("run:{run}"), body).await {
            tracing::warn!(run.id = %run, error = %error, "a child run waits for the outbox relay");
        }
    }
    Ok(Ok(json!({"run": submitted.run})))
}

/// How the child run ended, or that it has not yet.
pub(super) async fn wait(
    engine: &Engine,
    tenant: &Tenant,
    record: &RunRecord,
    args: &Value,
) -> Result<Answer, Error> {
    let Some(run) = text(args, "run").and_then(|run| run.parse::<RunId>().ok()) else {
        return Ok(Err(error("invalid", "the call names no run")));
    };
    let header = match told(ended(engine, tenant, run).await)? {
        Ok(header) => header,
        Err(refused) => return Ok(Err(refused)),
    };
    if header.parent.is_none_or(|(parent, _)| parent != record.run.id) {
        return Ok(Err(error("not_found", "this run did not start that one")));
    }
    let state = header.state;
    if state == RunState::Completed {
        return Ok(Ok(json!({"state": state.name(), "outputs": outputs(engine, run).await?})));
    }
    Ok(Ok(json!({"state": state.name(), "failure": header.failure})))
}

/// The child's row once it has ended, or as it is when the question was kept for long enough.
async fn ended(engine: &Engine, tenant: &Tenant, run: RunId) -> Result<RunHeader, store::Error> {
    // Questions that are kept must not keep workers from being heard.
    let kept = engine.waits.try_acquire();
    let until = Instant::now() + if kept.is_ok() { WAIT_MAX } else { Duration::ZERO };
    let mut look = LOOK_FIRST;
    loop {
        let header = tenant.run_header(run).await?;
        if header.state.is_terminal() || Instant::now() >= until {
            return Ok(header);
        }
        sleep(look).await;
        look = (look * 2).min(LOOK_LAST);
    }
}

/// What the nodes that the component asked for gave, in Langflow's order: by position, those that
/// were built.
async fn outputs(engine: &Engine, run: RunId) -> Result<Vec<Value>, Error> {
    let record = engine.load(run).await?;
    let version = engine.catalog.version(record.flow_version).await?;
    let plan = version.plan(&record)?;
    let request: RunRequest = serde_json::from_value(record.request.clone())?;
    let wanted = request.child.map(|child| child.outputs).unwrap_or_default();
    let nodes: Vec<&domain::flow::Node> = version
        .graph
        .nodes()
        .iter()
        .filter(|node| match wanted.is_empty() {
            true => node.is_output,
            false => wanted.contains(&node.id) || wanted.contains(&node.display_name),
        })
        .collect();
    let cells = nodes.iter().filter_map(|node| plan.cell_of(&node.id));
    let cells: BTreeSet<u32> = cells.map(|cell| cell.index).collect();
    let cells: Vec<u32> = cells.into_iter().collect();
    let mut results = engine.store.engine().results(run, &cells).await?;
    let built = nodes.iter().filter_map(|node| {
        let cell = plan.cell_of(&node.id)?;
        let given = results.get_mut(&cell.index)?.nodes.remove(&node.id)?;
        Some(json!({"node": node.id, "result": given.result, "outputs": given.outputs}))
    });
    Ok(built.collect())
}
