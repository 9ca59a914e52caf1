//! Runs as our routes show them.

use domain::id::RunId;
use domain::run::{RunState, TaskState};
use proto::http::{AttemptView, FiguresView, RequestView, RunChild, RunParent, RunView, TaskView};
use serde_json::Value;
use store::{HumanRequest, Page, RunFilter, RunHeader, Tenant};

use crate::app::App;
use crate::clock;
use crate::error::Error;
use crate::result;

/// Most characters of a container's id that are shown, as Docker does.
const CONTAINER_CHARS: usize = 12;

/// Most children that are shown with a run, the latest; a list of runs by parent has all.
const CHILDREN_MAX: u64 = 500;

/// A run with its tasks, and its result once it is completed.
pub(super) async fn whole(
    app: &App,
    tenant: &Tenant,
    view: &store::RunView,
) -> Result<RunView, Error> {
    let flow_name = tenant.flow(view.header.flow).await?.header.name;
    let result = match view.header.state {
        RunState::Completed => Some(result::of(app, tenant, view).await?),
        RunState::Queued
        | RunState::Running
        | RunState::Suspended
        | RunState::Paused
        | RunState::Failed
        | RunState::Cancelled
        | RunState::TimedOut => None,
    };
    let is_rerun = view.header.rerun_of.is_some();
    let tasks = view.tasks.iter().map(|view| task(view, is_rerun)).collect();
    let children = children(tenant, view.header.id).await?;
    let asked = tenant.human_requests(view.header.id).await?;
    let requests = asked.into_iter().map(request).collect();
    Ok(RunView { children, requests, ..run(&view.header, flow_name, tasks, result) })
}

async fn children(tenant: &Tenant, parent: RunId) -> Result<Vec<RunChild>, Error> {
    let of_parent = RunFilter { parent: Some(parent), ..RunFilter::default() };
    let page = Page { limit: CHILDREN_MAX, offset: 0 };
    let started = tenant.runs(&of_parent, page).await?.items;
    let child = |header: RunHeader| RunChild {
        id: header.id.to_string(),
        task: header.parent.map_or(0, |(_, task)| task),
        state: header.state.name().to_owned(),
    };
    Ok(started.into_iter().rev().map(child).collect())
}

fn request(asked: HumanRequest) -> RequestView {
    RequestView {
        request_id: asked.request_id,
        node: asked.node,
        request: asked.request,
        asked_at: clock::rfc3339(asked.asked),
        decision: asked.decision,
        decided_at: asked.decided.map(clock::rfc3339),
    }
}

/// A run without its tasks and result, for lists.
pub(super) fn header(header: &RunHeader, flow_name: String) -> RunView {
    run(header, flow_name, Vec::new(), None)
}

fn run(
    header: &RunHeader,
    flow_name: String,
    tasks: Vec<TaskView>,
    result: Option<Value>,
) -> RunView {
    RunView {
        id: header.id.to_string(),
        flow_id: header.flow.to_string(),
        flow_name,
        version_id: header.version.to_string(),
        state: header.state.name().to_owned(),
        session_id: header.session_id.clone(),
        rerun_of: header.rerun_of.map(|run| run.to_string()),
        dead_letter: header.dead_letter,
        parent: header.parent.map(|(run, task)| RunParent { id: run.to_string(), task }),
        children: Vec::new(),
        created_at: clock::rfc3339(header.created),
        started_at: header.started.map(clock::rfc3339),
        ended_at: header.ended.map(clock::rfc3339),
        failure: header.failure.clone(),
        requests: Vec::new(),
        tasks,
        result,
    }
}

fn task(task: &store::TaskView, is_rerun: bool) -> TaskView {
    let last = task.attempts.last();
    let container = last.and_then(|attempt| attempt.container.as_deref());
    TaskView {
        cell: task.cell.clone(),
        state: task.state.name().to_owned(),
        attempt: task.attempt,
        kept: is_rerun && task.state == TaskState::Done && task.attempt == 0,
        container: container.map(short),
        duration_ms: last.and_then(|attempt| attempt.figures.as_ref()).map(|f| f.run_ms),
        failure: task.failure.clone(),
        ready_at: task.ready_since.map(clock::rfc3339),
        attempts: task.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &store::AttemptView) -> AttemptView {
    AttemptView {
        attempt: attempt.attempt,
        container: attempt.container.as_deref().map(short),
        leased_at: clock::rfc3339(attempt.leased),
        began_at: attempt.began.map(clock::rfc3339),
        ended_at: attempt.ended.map(clock::rfc3339),
        outcome: attempt.outcome.clone(),
        failure: attempt.failure.clone(),
        figures: attempt.figures.as_ref().map(|figures| FiguresView {
            pick_up_ms: figures.pick_up_ms,
            run_ms: figures.run_ms,
            cpu_ms: figures.cpu_ms,
            memory_peak_bytes: figures.memory_peak_bytes,
            frames: figures.frames,
            output_bytes: figures.output_bytes,
        }),
    }
}

fn short(container: &str) -> String {
    container.chars().take(CONTAINER_CHARS).collect()
}
