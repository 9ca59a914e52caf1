//! Runs that wait for a person.

use std::collections::BTreeMap;

use domain::retry::RetryPolicy;
use domain::run::RunState;
use proto::event::RunEventKind;
use proto::frame::{CellResult, Paused};
use proto::message::{Assignment, ReportOutcome, SchedulerReply};
use serde_json::{Value, json};
use store::{Decided, MessageFilter, now};

use crate::{Cluster, HOUR};

fn question(assignment: &Assignment) -> String {
    format!("{}:{}", assignment.task.cell, assignment.attempt.run)
}

fn asks(request_id: &str, node: &str) -> ReportOutcome {
    let paused = Paused {
        node: node.to_owned(),
        request: json!({
            "request_id": request_id, "kind": "node_input", "prompt": "Go on?",
            "allowed_decisions": ["approve", "reject"], "options": [], "timeout_seconds": 0,
        }),
        saved: BTreeMap::from([("agent".to_owned(), "so far".to_owned())]),
    };
    let result = CellResult { paused: Some(Box::new(paused)), ..CellResult::default() };
    ReportOutcome::Done { result }
}

async fn cluster(more: Value) -> (Cluster, domain::id::RunId) {
    let cluster = Cluster { more, ..Cluster::new().await };
    let data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("HumanInput-b", &["ChatInput-a"]),
        ("ChatOutput-c", &["HumanInput-b"]),
    ]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    (cluster, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_a_person_and_goes_on_where_it_was() {
    let (mut cluster, run) = cluster(json!({"may_pause": true})).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let asking = cluster.take().await;
    assert!(asking.task.may_pause && asking.task.decisions.is_empty());
    let id = question(&asking);
    let report = || cluster.report(asking.attempt, asks(&id, "HumanInput-b"));
    assert_eq!(report().await, SchedulerReply::Accepted);
    assert_eq!(report().await, SchedulerReply::Accepted, "a report that comes twice is known");
    assert_eq!(cluster.state(run).await, RunState::Suspended);
    assert_eq!(cluster.beat(vec![]).await, SchedulerReply::Beat { stop: vec![] });
    assert!(cluster.store.engine().attempts_of(cluster.worker).await.unwrap().is_empty());
    let messages = cluster.tenant.messages(&MessageFilter::default()).await.unwrap();
    let card = &messages[0].data["content_blocks"][0];
    assert_eq!((&card["title"], messages.len()), (&json!("Human input required"), 1));
    assert_eq!(card["contents"][0]["prompt"], "Go on?");

    let yes = json!({"action_id": "approve", "values": {}});
    let decided = cluster.tenant.decide(run, &id, &yes, now()).await.unwrap();
    assert_eq!(decided, Decided::Now);
    // Nothing but the sweep tells the scheduler here. What was done is not done again.
    let again = cluster.take().await;
    assert_eq!((again.task.cell.as_str(), again.attempt.attempt), ("HumanInput-b", 2));
    assert_eq!(again.task.decisions[&id], yes);
    assert_eq!(again.task.saved["agent"], "so far");
    assert_eq!(again.task.inputs["ChatInput-a"]["message"], "made by ChatInput-a");
    cluster.done(&again).await;
    let last = cluster.take().await;
    assert_eq!(last.task.cell, "ChatOutput-c");
    assert!(last.task.decisions.is_empty() && last.task.saved.is_empty());
    cluster.done(&last).await;

    let log = cluster.log(run).await;
    let names: Vec<&str> = log.iter().map(RunEventKind::name).collect();
    let told = ["task.paused", "run.suspended", "run.resumed", "run.completed"];
    let seen: Vec<&str> = names.iter().filter(|name| told.contains(name)).copied().collect();
    assert_eq!(seen, told, "{names:?}");
    let prompt = log.iter().find_map(|kind| match kind {
        RunEventKind::TaskPaused { request, .. } => Some(request["prompt"].clone()),
        _ => None,
    });
    assert_eq!(prompt, Some(json!("Go on?")));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_nobody_fails_when_its_cell_asks() {
    let (mut cluster, run) = cluster(json!({})).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let asking = cluster.take().await;
    assert!(!asking.task.may_pause);
    cluster.report(asking.attempt, asks(&question(&asking), "HumanInput-b")).await;
    let log = cluster.log(run).await;
    assert_eq!(log.last().map(RunEventKind::name), Some("run.failed"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_must_name_the_node_that_asks() {
    let (mut cluster, run) = cluster(json!({"may_pause": true})).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let asking = cluster.take().await;
    cluster.report(asking.attempt, asks(&format!("ChatInput-a:{run}"), "HumanInput-b")).await;
    let failure = cluster.log(run).await.into_iter().find_map(|kind| match kind {
        RunEventKind::RunFailed { failure } => Some(failure),
        _ => None,
    });
    let failure = failure.unwrap();
    assert_eq!(failure.kind.code(), "unsupported");
    assert_eq!(failure.node.as_deref(), Some("HumanInput-b"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_run_is_cancelled_at_once() {
    let (mut cluster, run) = cluster(json!({"may_pause": true})).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let asking = cluster.take().await;
    let id = question(&asking);
    cluster.report(asking.attempt, asks(&id, "HumanInput-b")).await;
    cluster.order(run, true).await;
    let log = cluster.log(run).await;
    assert_eq!(log.last(), Some(&RunEventKind::RunCancelled));
    let late = cluster.tenant.decide(run, &id, &json!({"action_id": "approve"}), now()).await;
    assert!(matches!(late, Err(store::Error::Conflict { .. })), "{late:?}");
    cluster.end().await;
}
