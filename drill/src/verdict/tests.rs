//! Every promise can be broken, and its check says so.

use proto::http::RunView;
use serde_json::{Value, json};

use super::{Check, Evidence, checks};
use crate::database::{AttemptRow, RunRow};
use crate::effects::Execution;
use crate::follow::{Followed, Log};
use crate::load::Submitted;

const RUN: &str = "01-run";
const KEY: &str = "run-1";
const CELLS: [&str; 4] = ["ChatInput-a", "Count-first", "Count-second", "ChatOutput-z"];

#[test]
fn a_run_as_it_should_be_breaks_nothing() {
    let checks = checks(&evidence());
    assert_eq!(broken(&checks), Vec::<&str>::new());
    for check in checks.iter().filter(|check| !check.promise.contains("further attempt")) {
        assert!(check.looked_at > 0, "nothing was looked at: {}", check.promise);
    }
}

#[test]
fn a_run_without_an_end_is_lost() {
    let mut evidence = evidence();
    evidence.submitted[0].followed = None;
    assert_eq!(broken(&checks(&evidence)), ["every run that was submitted is accepted and ends"]);
}

#[test]
fn a_refused_run_is_told() {
    let mut evidence = evidence();
    evidence.submitted.push(Submitted {
        key: "run-2".to_owned(),
        refused: Some("an API answered 500".to_owned()),
        ..Submitted::default()
    });
    assert!(
        broken(&checks(&evidence)).contains(&"every run that was submitted is accepted and ends")
    );
}

#[test]
fn an_answer_from_an_execution_that_nobody_counted_is_wrong() {
    for answer in ["run-1 first#2 second#1", "run-1 first#1 second#2", "run-1 first#1", ""] {
        let mut evidence = evidence();
        view(&mut evidence).result = Some(result(answer));
        assert_eq!(broken(&checks(&evidence)), ["every run is answered rightly"], "{answer}");
    }
}

#[test]
fn a_failed_run_is_no_right_answer() {
    let mut evidence = evidence();
    view(&mut evidence).state = "failed".to_owned();
    assert_eq!(broken(&checks(&evidence)), ["every run is answered rightly"]);
}

#[test]
fn a_key_with_two_runs_is_told() {
    let mut evidence = evidence();
    let mut second = evidence.rows.runs[0].clone();
    second.id = "02-run".to_owned();
    second.state = "running".to_owned();
    evidence.rows.runs.push(second);
    let promise = "an idempotency key is one run, however often it is submitted";
    assert_eq!(broken(&checks(&evidence)), [promise]);
    evidence.rows.runs[1].key = Some("of nobody".to_owned());
    assert_eq!(broken(&checks(&evidence)), [promise]);
}

#[test]
fn a_task_that_is_done_twice_is_told() {
    let mut evidence = evidence();
    evidence.rows.attempts.push(attempt("Count-first", 2, "done", None));
    let told = broken(&checks(&evidence));
    assert!(told.contains(&"no task that is done is done again"), "{told:?}");
    assert!(told.contains(&"every further attempt follows one that the platform lost"), "{told:?}");
}

#[test]
fn a_lost_attempt_is_a_reason_for_another_and_an_error_of_a_component_is_none() {
    let mut evidence = evidence();
    evidence.rows.attempts.retain(|row| row.cell != "Count-first");
    evidence.rows.attempts.extend([
        attempt("Count-first", 1, "failed", Some("worker_lost")),
        attempt("Count-first", 2, "done", None),
    ]);
    assert_eq!(broken(&checks(&evidence)), Vec::<&str>::new());
    let lost = evidence.rows.attempts.iter_mut().find(|row| row.failure.is_some()).unwrap();
    lost.failure = Some("component".to_owned());
    let promise = "every further attempt follows one that the platform lost";
    assert_eq!(broken(&checks(&evidence)), [promise]);
}

#[test]
fn an_execution_without_an_attempt_is_told() {
    let mut evidence = evidence();
    count(&mut evidence, "second", "run-1 first#1");
    assert_eq!(broken(&checks(&evidence)), ["a cell is executed at most once per attempt"]);
}

#[test]
fn a_cell_that_got_two_results_of_another_is_told() {
    let mut evidence = evidence();
    let lost = attempt("Count-second", 0, "failed", Some("worker_lost"));
    evidence.rows.attempts.insert(2, AttemptRow { attempt: 1, ..lost });
    evidence.rows.attempts[3].attempt = 2;
    count(&mut evidence, "second", "run-1 first#2");
    assert_eq!(broken(&checks(&evidence)), ["whoever needs a cell's result gets the same one"]);
}

#[test]
fn a_message_too_many_and_one_that_is_missing_are_told() {
    for messages in [1, 3] {
        let mut evidence = evidence();
        evidence.rows.runs[0].messages = messages;
        let broken = broken(&checks(&evidence));
        assert_eq!(broken, ["every chat message is stored once"], "{messages}");
    }
}

#[test]
fn a_log_with_a_gap_or_two_ends_or_that_changes_is_told_unless_nats_lost_it() {
    let spoil: [fn(&mut Log); 4] = [
        |log| log.irregular.push("5 came where 4 was due".to_owned()),
        |log| drop(log.events.insert(99, json!({"type": "run.completed"}))),
        |log| drop(log.events.pop_last()),
        |log| drop(log.events.insert(2, json!({"type": "task.done", "cell": "Count-second"}))),
    ];
    for (spoil, number) in spoil.into_iter().zip(0..) {
        let mut evidence = evidence();
        spoil(&mut followed(&mut evidence).live);
        let told = broken(&checks(&evidence));
        assert!(told[0].starts_with("every event log is whole"), "{number}: {told:?}");
    }
    let mut evidence = evidence();
    followed(&mut evidence).live.events.pop_first();
    evidence.wipes.push((150, 160));
    assert_eq!(broken(&checks(&evidence)), Vec::<&str>::new());
    evidence.wipes[0] = (1, 2);
    assert_eq!(broken(&checks(&evidence)).len(), 1, "it was lost before the run");
}

#[test]
fn what_is_left_is_told() {
    for leave in [
        (|evidence| evidence.rows.unfinished.unpublished = 1) as fn(&mut Evidence),
        |evidence| evidence.rows.unfinished.leases = 1,
        |evidence| evidence.rows.unfinished.open_tasks = 1,
        |evidence| evidence.remains.push("the container x".to_owned()),
    ] {
        let mut evidence = evidence();
        leave(&mut evidence);
        let promise = "nothing is left behind, and every process ends in order";
        assert_eq!(broken(&checks(&evidence)), [promise]);
    }
}

fn broken(checks: &[Check]) -> Vec<&'static str> {
    let broken = checks.iter().filter(|check| !check.broken.is_empty());
    broken.map(|check| check.promise).collect()
}

/// One run without a fault, accepted at 100, ended at 200.
fn evidence() -> Evidence {
    let log = log();
    let followed = Followed { live: log.clone(), view: completed() };
    let mut evidence = Evidence {
        submitted: vec![Submitted {
            key: KEY.to_owned(),
            accepted_at: 100,
            ids: [RUN.to_owned()].into(),
            tries: 1,
            refused: None,
            followed: Some(followed),
        }],
        read_again: [(RUN.to_owned(), log)].into(),
        ..Evidence::default()
    };
    count(&mut evidence, "first", KEY);
    count(&mut evidence, "second", "run-1 first#1");
    evidence.rows.runs.push(RunRow {
        id: RUN.to_owned(),
        key: Some(KEY.to_owned()),
        state: "completed".to_owned(),
        ended: Some(200),
        messages: 2,
    });
    evidence.rows.attempts = CELLS.map(|cell| attempt(cell, 1, "done", None)).into();
    evidence
}

fn log() -> Log {
    let done = CELLS.map(|cell| json!({"type": "task.done", "cell": cell}));
    let events = done.into_iter().chain([json!({"type": "run.completed"})]);
    Log { events: (1..).zip(events).collect(), ..Log::default() }
}

fn completed() -> RunView {
    let text = json!({
        "id": RUN, "flow_id": "f", "flow_name": "drill", "version_id": "v", "state": "completed",
        "session_id": KEY, "created_at": "", "started_at": null, "ended_at": "", "failure": null,
        "tasks": [], "result": result("run-1 first#1 second#1"),
    });
    serde_json::from_value(text).unwrap()
}

fn result(answer: &str) -> Value {
    json!({"outputs": [{"outputs": [{"results": {"message": {"text": answer}}}]}]})
}

fn attempt(cell: &str, attempt: i64, outcome: &str, failure: Option<&str>) -> AttemptRow {
    AttemptRow {
        run: RUN.to_owned(),
        cell: cell.to_owned(),
        attempt,
        ended: Some(150),
        outcome: Some(outcome.to_owned()),
        failure: failure.map(str::to_owned),
    }
}

fn count(evidence: &mut Evidence, cell: &str, input: &str) {
    let executions = evidence.counted.entry((KEY.to_owned(), cell.to_owned())).or_default();
    executions.push(Execution { input: input.to_owned() });
}

fn followed(evidence: &mut Evidence) -> &mut Followed {
    evidence.submitted[0].followed.as_mut().unwrap()
}

fn view(evidence: &mut Evidence) -> &mut RunView {
    &mut followed(evidence).view
}
