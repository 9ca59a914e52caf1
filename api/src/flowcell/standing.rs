//! Why a run is where it is: what each of its tasks waits for.

use axum::Json;
use axum::extract::{Path, State};
use domain::admission::{LimitKey, RunLimit};
use domain::run::{RunState, TaskState};
use domain::time::Timestamp;
use serde_json::{Value, json};
use store::{QueueLoad, RunView, Standing, TaskView};

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;

/// A reason: a stable word, and a sentence.
type Reason = (&'static str, String);

const PAUSED: &str = "it is paused: nothing more of it begins before `flowcell unpause RUN` \
                      (POST …/runs/{id}/unpause)";

/// `GET /api/flowcell/v1/runs/{id}/explain`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let tenant = app.tenant(&principal);
    let now = store::now();
    let id = run_id(&id)?;
    let standing = tenant.standing(id, now).await?;
    let view = tenant.run(id).await?;
    let (reason, text) = of_run(&standing, now);
    let tasks: Vec<Value> =
        view.tasks.iter().map(|task| task_value(task, &view, &standing, now)).collect();
    Ok(Json(json!({
        "id": id,
        "state": standing.state.name(),
        "reason": reason,
        "text": text,
        "queue": {
            "name": standing.queue.name,
            "workers": standing.queue.workers.workers,
            "slots": standing.queue.workers.slots,
            "taken": standing.queue.taken,
            "taken_by_tenant": standing.queue.own,
            "runs_ahead": standing.ahead,
        },
        "tasks": tasks,
    })))
}

fn of_run(standing: &Standing, now: Timestamp) -> Reason {
    match standing.state {
        RunState::Queued => of_queued(standing, now),
        RunState::Running => ("running", "it is under way; its tasks say more".to_owned()),
        RunState::Suspended => {
            ("person", "all that is left waits for a person's answer".to_owned())
        }
        RunState::Paused => ("paused", PAUSED.to_owned()),
        ended => ("ended", format!("it has ended: {}", ended.name())),
    }
}

fn of_queued(standing: &Standing, now: Timestamp) -> Reason {
    if let Some(at) = standing.not_before.filter(|at| *at > now) {
        return ("delayed", format!("it is to wait for {} more", span(at, now)));
    }
    if let Some((limit, open)) = &standing.limit {
        return ("limit", limit_text(limit, *open));
    }
    let ahead = match standing.ahead {
        0 => "it is the next of its tenant".to_owned(),
        1 => "one run of its tenant goes first".to_owned(),
        ahead => format!("{ahead} runs of its tenant go first"),
    };
    let (reason, slots) = of_slots(&standing.queue);
    (reason, format!("{ahead}; {slots}"))
}

fn limit_text(limit: &RunLimit, open: u32) -> String {
    let of = match &limit.key {
        LimitKey::Tenant => "of the tenant".to_owned(),
        LimitKey::Flow(_) => "of the flow".to_owned(),
        LimitKey::ApiKey(_) => "of its API key".to_owned(),
        LimitKey::Custom(key) => format!("with the concurrency key {key:?}"),
    };
    format!("{open} runs {of} are open, and at most {} may be", limit.most)
}

fn of_slots(queue: &QueueLoad) -> Reason {
    let pool = queue.name.as_deref().map_or(String::new(), |name| format!(" of {name:?}"));
    let QueueLoad { taken, own, workers, .. } = queue;
    if workers.workers == 0 {
        return ("no_worker", format!("no worker{pool} is alive"));
    }
    let slots = workers.slots;
    if *taken < slots {
        return ("offer", format!("{} of {slots} slots{pool} are free", slots - taken));
    }
    ("share", format!("all {slots} slots{pool} are taken, {own} by this tenant"))
}

fn task_value(task: &TaskView, run: &RunView, standing: &Standing, now: Timestamp) -> Value {
    let (reason, text) = of_task(task, run, standing, now);
    json!({"cell": task.cell, "state": task.state.name(), "reason": reason, "text": text})
}

fn of_task(task: &TaskView, run: &RunView, standing: &Standing, now: Timestamp) -> Reason {
    match task.state {
        TaskState::Waiting => {
            let is_open = |index: &&u32| {
                let other = run.tasks.iter().find(|other| other.index == **index);
                other.is_some_and(|other| !other.state.is_settled())
            };
            let name = |index: &u32| {
                run.tasks.iter().find(|other| other.index == *index).map(|other| &*other.cell)
            };
            let needs: Vec<&str> =
                task.depends_on.iter().filter(is_open).filter_map(name).collect();
            match needs.is_empty() {
                true if run.header.state == RunState::Paused => {
                    ("paused", "the run is paused".to_owned())
                }
                true => ("start", "the run has not started".to_owned()),
                false => ("needs", format!("it needs {}", needs.join(", "))),
            }
        }
        TaskState::Ready => of_ready(task, standing, now),
        TaskState::Leased | TaskState::Running => {
            let worker = task.attempts.last().map(|attempt| attempt.worker.to_string());
            let at = worker.map_or(String::new(), |worker| format!(" on worker {worker}"));
            ("running", format!("attempt {} is under way{at}", task.attempt))
        }
        TaskState::Paused => ("person", "it asked a person".to_owned()),
        TaskState::Done
        | TaskState::Failed
        | TaskState::Skipped
        | TaskState::Cancelled
        | TaskState::Replaced => ("ended", format!("it is {}", task.state.name())),
    }
}

fn of_ready(task: &TaskView, standing: &Standing, now: Timestamp) -> Reason {
    if let Some(at) = task.not_before.filter(|at| *at > now) {
        let text = format!("attempt {} failed; the next one is in {}", task.attempt, span(at, now));
        return ("backoff", text);
    }
    let queue = standing.queues.get(&task.index).unwrap_or(&standing.queue);
    match task.dispatched {
        Some(at) if queue.workers.workers > 0 => {
            let text =
                format!("it was offered {} ago, and the next free worker takes it", span(now, at));
            ("offer", text)
        }
        Some(_) | None => of_slots(queue),
    }
}

/// A span of time for people.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let span = later.since(earlier);
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
