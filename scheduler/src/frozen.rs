//! Components that the author froze: their last result is used again instead of running them.
//!
//! ```text
//!  claim ──▶ prepared ──▶ is it of the same? ── yes ──▶ reported done at once, no container
//!                                └── no ──▶ the worker runs it ──▶ its result is kept
//! ```
//!
//! Langflow keeps such results in the memory of its process and whatever the input is. Here they
//! are stored, and used for the same component, input and context only.

use domain::flow::{Graph, Node};
use domain::id::WorkerEpoch;
use domain::plan::Cell;
use proto::frame::Task;
use proto::message::{Assignment, AttemptRef, Figures, ReportOutcome};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{FrozenKey, RunRecord, now};

use crate::assignment;
use crate::attempts::Report;
use crate::catalog::Version;
use crate::engine::Engine;
use crate::error::Error;

/// Parts of a message that differ although it says the same.
const FLEETING: [&str; 7] =
    ["id", "run_id", "timestamp", "duration", "build_duration", "session_metadata", "usage"];

/// The result to use instead of running what was claimed.
pub(crate) async fn recall(
    engine: &Engine,
    assignment: &Assignment,
) -> Result<Option<ReportOutcome>, Error> {
    // Most flows have nothing frozen, and their claims should cost nothing more.
    if !has_frozen_member(&assignment.task) {
        return Ok(None);
    }
    let record = engine.load(assignment.attempt.run).await?;
    let Some(key) = key(engine, &record, assignment).await? else { return Ok(None) };
    let Some(mut result) = engine.store.engine().frozen(&key).await? else { return Ok(None) };
    result.nodes.values_mut().for_each(|node| mark(&mut node.result));
    result.usage = None;
    Ok(Some(ReportOutcome::Done { result }))
}

/// Makes a `ResultData` what Langflow shows of a frozen one: its outputs come from its artifacts,
/// and it has logged and spent nothing.
fn mark(shown: &mut Value) {
    let Some(shown) = shown.as_object_mut() else { return };
    let artifacts = shown.get("artifacts").cloned().unwrap_or_default();
    let outputs = shown.get_mut("outputs").and_then(Value::as_object_mut);
    for (name, output) in outputs.into_iter().flatten() {
        if let (Some(artifact), Some(output)) = (artifacts.get(name), output.as_object_mut()) {
            output.insert("message".to_owned(), artifact.clone());
        }
    }
    shown.insert("logs".to_owned(), json!({}));
    shown.insert("token_usage".to_owned(), Value::Null);
    shown.insert("used_frozen_result".to_owned(), Value::Bool(true));
}

/// Under what the result of a task is kept, before its report changes the run.
pub(crate) async fn key_of(
    engine: &Engine,
    record: &RunRecord,
    version: &Version,
    task: u32,
) -> Result<Option<FrozenKey>, Error> {
    let plan = version.plan(record)?;
    let cell = plan.cell(task);
    if cell.and_then(|cell| frozen(&version.graph, cell)).is_none() {
        return Ok(None);
    }
    // What was sent out with the claim: all on which the task depends has been there since.
    match assignment::prepare(engine, record, task).await? {
        Ok(assignment) => key(engine, record, &assignment).await,
        Err(_) => Ok(None),
    }
}

/// Keeps the result of an accepted report, if its component is frozen. The run does not depend on
/// it.
pub(crate) async fn keep(engine: &Engine, report: Report) {
    let AttemptRef { run, task, attempt } = report.attempt();
    let Some((key, result)) = report.frozen() else { return };
    if !result.live.is_empty() {
        return;
    }
    if let Err(error) = engine.store.engine().keep_frozen(&key, &result, now()).await {
        tracing::warn!(run.id = %run, task.id = task, attempt, %error, node = %key.node, "a frozen result is not kept");
    }
}

/// A claim's end without a worker.
pub(crate) fn report(
    assignment: &Assignment,
    worker: WorkerEpoch,
    outcome: ReportOutcome,
) -> Report {
    Report::of(assignment.attempt, worker, outcome, Figures::default())
}

/// Under what the cell's result is kept; `None` where it may not be.
async fn key(
    engine: &Engine,
    record: &RunRecord,
    assignment: &Assignment,
) -> Result<Option<FrozenKey>, Error> {
    let version = engine.catalog.version(record.flow_version).await?;
    let plan = version.plan(record)?;
    let cell = plan.cell(assignment.attempt.task);
    let node = cell.and_then(|cell| frozen(&version.graph, cell));
    let task = &assignment.task;
    // What the caller gave for this run only is nobody else's.
    Ok(node.filter(|_| task.request_variables.is_empty()).map(|node| FrozenKey {
        tenant: assignment.tenant,
        flow: task.flow_id,
        user: task.user_id,
        node: node.id.clone(),
        hash: hash(task, &assignment.image),
    }))
}

fn has_frozen_member(task: &Task) -> bool {
    members(task).any(|node| node.pointer("/data/node/frozen") == Some(&Value::Bool(true)))
}

fn members(task: &Task) -> impl Iterator<Item = &Value> {
    let nodes = task.graph.get("nodes").and_then(Value::as_array).into_iter().flatten();
    nodes.filter(|node| {
        let id = node.get("id").and_then(Value::as_str);
        id.is_some_and(|id| task.members.iter().any(|member| member == id))
    })
}

/// The frozen component whose result is the cell's: the only one that it builds, apart from copies.
/// Loops have to go through their data.
fn frozen<'g>(graph: &'g Graph, cell: &Cell) -> Option<&'g Node> {
    let mut primaries = cell.primaries();
    let node = graph.node(primaries.next()?)?;
    let is_loop = node.kind.starts_with("Loop") || node.outputs.iter().any(|o| o.allows_loop);
    let is_alone = primaries.next().is_none() && cell.inner.is_empty();
    (is_alone && node.is_frozen && !is_loop).then_some(node)
}

/// Of all that decides over the result: the components, what they are given, and in which image.
fn hash(task: &Task, image: &str) -> String {
    let components: Vec<&Value> = members(task).filter_map(|node| node.get("data")).collect();
    let mut given = json!([task.inputs, task.parameters, task.context]);
    settle(&mut given);
    let edges = task.graph.get("edges");
    let all = json!([image, task.members, components, edges, given]).to_string();
    Sha256::digest(all.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes what is fleeting out of every message.
fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("$").is_some_and(|tag| tag == "message") {
                map.remove("extra");
                if let Some(fields) = map.get_mut("fields") {
                    strip(fields);
                }
            }
            map.values_mut().for_each(settle);
        }
        Value::Array(list) => list.iter_mut().for_each(settle),
        _ => {}
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !FLEETING.contains(&key.as_str()));
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_say_the_same_are_the_same() {
        let message = |id: &str, text: &str| {
            json!([{"A-1": {"out": {
                "$": "message", "text": text, "extra": {"id": id},
                "fields": {
                    "timestamp": id, "run_id": id, "session_id": "s1", "files": [],
                    "properties": {"source": {"id": "A-1", "source": "A"}, "usage": {"input_tokens": 1}},
                    "content_blocks": [{"type": "text", "id": id, "duration": 7, "text": "t"}],
                },
            }}}])
        };
        let settled = |mut value: Value| {
            settle(&mut value);
            value
        };
        assert_eq!(settled(message("1", "hi")), settled(message("2", "hi")));
        assert_ne!(settled(message("1", "hi")), settled(message("1", "ho")));
        // What is no message may well be about ids.
        assert_ne!(settled(json!({"id": 1})), settled(json!({"id": 2})));
    }

    #[test]
    fn a_frozen_result_is_shown_as_langflow_shows_it() {
        let mut shown = json!({
            "artifacts": {"out": {"raw": "x", "type": "text"}},
            "outputs": {"out": {"message": "x", "type": "text"}, "other": {"message": "y"}},
            "logs": {"out": []}, "token_usage": {"input_tokens": 1}, "used_frozen_result": false,
        });
        mark(&mut shown);
        let expected = json!({
            "artifacts": {"out": {"raw": "x", "type": "text"}},
            "outputs": {
                "out": {"message": {"raw": "x", "type": "text"}, "type": "text"},
                "other": {"message": "y"},
            },
            "logs": {}, "token_usage": null, "used_frozen_result": true,
        });
        assert_eq!(shown, expected);
    }
}
