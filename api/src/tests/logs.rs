//! What cells wrote and what their attempts took, by run.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::id::WorkerEpoch;
use domain::run::{Command, Outcome, decide};
use domain::time::Timestamp;
use proto::event::RunEventKind;
use proto::message::Figures;
use serde_json::{Value, json};
use store::{AttemptFigures, Transition};
use uuid::Uuid;

use super::scheduler::append;
use super::world::{World, as_caller};

fn line(cell: &str, attempt: u32, stream: &str, text: &str) -> RunEventKind {
    let (cell, stream, text) = (cell.to_owned(), stream.to_owned(), text.to_owned());
    RunEventKind::Log { cell, attempt, stream, text }
}

#[tokio::test]
async fn lines_of_cells_are_read_by_cell_attempt_and_stream_live_and_archived() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let path = format!("/api/flowcell/v1/runs/{run}/logs");
    let written = vec![
        RunEventKind::RunStarted,
        line("A", 1, "stdout", "one\n"),
        line("B", 1, "stderr", "two\n"),
        line("A", 2, "stdout", "three\n"),
    ];
    append(&world.bus, run, written, "w").await;
    let texts = async |query: &str| -> Vec<String> {
        let answer = world.get(&format!("{path}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["text"].as_str().unwrap().trim().to_owned()).collect()
    };
    for archived in [false, true] {
        if archived {
            let log = world.bus.snapshot(run).await.unwrap().join(&b'\n');
            world.store.engine().archive_event_log(run, &log).await.unwrap();
            world.bus.forget(run).await.unwrap();
        }
        assert_eq!(texts("").await, ["one", "two", "three"]);
        assert_eq!(texts("?cell=A").await, ["one", "three"]);
        assert_eq!(texts("?cell=A&attempt=2").await, ["three"]);
        assert_eq!(texts("?stream=stderr").await, ["two"]);
        assert_eq!(texts("?after=2").await, ["two", "three"]);
    }
    let first = world.get(&format!("{path}?limit=1")).await.json();
    assert_eq!((&first["next"], &first["items"][0]["position"]), (&json!(2), &json!(2)));
    let last = world.get(&format!("{path}?after=3&limit=1")).await.json();
    assert_eq!((&last["next"], last["items"].as_array().unwrap().len()), (&Value::Null, 1));
    let wrong = world.get(&format!("{path}?stream=both")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let foreign = as_caller(&world.other, Method::GET, &path, Body::empty());
    assert_eq!(world.send(foreign).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_attempt_of_a_task_has_its_times_and_figures() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let worker = WorkerEpoch(Uuid::from_u128(7));
    let begin = store::now();
    let at = |ms: i64| Timestamp(begin.millis() + ms);
    let outcome = Outcome::Done { skip: vec![] };
    let commands = [
        (Command::Start { skip: vec![] }, at(0)),
        (Command::Claim { task: 0, worker }, at(10)),
        (Command::Began { task: 0, attempt: 1, worker }, at(30)),
        (Command::Finish { task: 0, attempt: 1, worker, outcome }, at(430)),
    ];
    for (command, now) in commands {
        let record = world.store.engine().load(run).await.unwrap().unwrap();
        let decision = decide(&record.run, &command, now).unwrap();
        let mut after = record.run.clone();
        decision.events.iter().for_each(|event| after.apply(event));
        let mut change = Transition::new(record.version, after, decision.events, now);
        if matches!(command, Command::Finish { .. }) {
            let figures = Figures { pick_up_ms: 20, run_ms: 400, ..Figures::default() };
            let (container, figures) = (Some("c0ffeec0ffee99".to_owned()), Some(figures));
            change.figures = vec![AttemptFigures { task: 0, attempt: 1, container, figures }];
        }
        world.store.engine().commit(change).await.unwrap();
    }
    let task = world.get(&format!("/api/flowcell/v1/runs/{run}")).await.json()["tasks"][0].clone();
    let moment = |ms| json!(crate::clock::rfc3339(at(ms)));
    assert_eq!(task["ready_at"], moment(0));
    assert_eq!(
        task["attempts"],
        json!([{
            "attempt": 1, "container": "c0ffeec0ffee", "leased_at": moment(10),
            "began_at": moment(30), "ended_at": moment(430), "outcome": "done", "failure": null,
            "figures": {
                "pick_up_ms": 20, "run_ms": 400, "cpu_ms": null, "memory_peak_bytes": null,
                "frames": 0, "output_bytes": 0,
            },
        }])
    );
}
