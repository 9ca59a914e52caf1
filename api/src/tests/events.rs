//! A run's events by SSE: complete and in order from every position, live and archived.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use futures::StreamExt;
use proto::event::RunEventKind;
use serde_json::json;

use super::scheduler::{Script, append, results_of};
use super::world::World;

const ECHO: &str = include_str!("captures/run_echo.txt");

fn path(run: impl std::fmt::Display) -> String {
    format!("/api/flowcell/v1/runs/{run}/events")
}

/// `id event` of every event.
fn summary(stream: &str) -> Vec<String> {
    let field = |event: &str, name: &str| {
        let lines = event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        lines.unwrap_or_default()
    };
    let events = stream.split("\n\n").filter(|event| event.starts_with("id: "));
    events.map(|event| format!("{} {}", field(event, "id: "), field(event, "event: "))).collect()
}

fn script() -> Script {
    let results = results_of(&serde_json::from_str(ECHO).unwrap());
    let langflow = vec![json!({"event": "token", "data": {"chunk": "line\nbreak"}})];
    Script { results, langflow, ..Script::default() }
}

#[tokio::test]
async fn a_stream_can_be_resumed_at_every_position() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = script().play(&world);
    let run = world.start("echo").await;
    let all = world.get(&path(run)).await;
    assert_eq!(all.headers["content-type"], "text/event-stream; charset=utf-8");
    let events = summary(&all.body);
    let expected = [
        "1 run.started",
        "2 task.done",
        "3 task.done",
        "4 task.done",
        "5 langflow",
        "6 run.completed",
    ];
    assert_eq!(events, expected);
    let first = all.body.split("\n\n").find(|event| event.starts_with("id: 1")).unwrap();
    insta::assert_snapshot!(first, @r#"
    id: 1
    event: run.started
    data: {"at":1700000000000,"type":"run.started"}
    "#);
    // From the bus, then from the archive: no difference.
    for archived in [false, true] {
        if archived {
            let log = world.bus.snapshot(run).await.unwrap().join(&b'\n');
            world.store.engine().archive_event_log(run, &log).await.unwrap();
            world.bus.forget(run).await.unwrap();
        }
        for after in 0..=7 {
            let by_parameter = world.get(&format!("{}?after={after}", path(run))).await;
            let mut request = world.request(Method::GET, &path(run), Body::empty());
            request.headers_mut().insert("last-event-id", after.into());
            let by_header = world.send(request).await;
            assert_eq!(by_parameter.body, by_header.body);
            let left = expected.get(after..).unwrap_or_default();
            assert_eq!(summary(&by_header.body), left, "after {after}, archived: {archived}");
        }
    }
    let wrong = world.get(&format!("{}?after=x", path(run))).await;
    assert_eq!(wrong.json()["error"]["code"], "body_invalid");
}

#[tokio::test]
async fn a_live_stream_follows_and_ends() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let response = world.respond(world.request(Method::GET, &path(run), Body::empty())).await;
    let mut body = response.into_body().into_data_stream();
    let mut next = async || body.next().await.map(|piece| piece.unwrap());
    assert_eq!(next().await.unwrap().as_ref(), b": connected\n\n");
    append(&world.bus, run, vec![RunEventKind::RunStarted], "a").await;
    assert!(next().await.unwrap().starts_with(b"id: 1\nevent: run.started\n"));
    append(&world.bus, run, vec![RunEventKind::RunCancelled], "b").await;
    assert!(next().await.unwrap().starts_with(b"id: 2\nevent: run.cancelled\n"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn streams_end_when_the_api_stops() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let response = world.respond(world.request(Method::GET, &path(run), Body::empty())).await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    world.api.0.stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), body.next()).await.unwrap();
    assert!(end.is_none());
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_ended_from_the_row() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = Script { loses_end: true, ..script() }.play(&world);
    let run = world.start("echo").await;
    let events = summary(&world.get(&path(run)).await.body);
    assert_eq!(events.last().map(String::as_str), Some("6 run.completed"));
    let log = world.bus.snapshot(run).await.unwrap().join(&b'\n');
    world.store.engine().archive_event_log(run, &log).await.unwrap();
    world.bus.forget(run).await.unwrap();
    assert_eq!(summary(&world.get(&path(run)).await.body), events);
}
