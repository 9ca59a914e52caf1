//! `/api/v1/run?stream=true`: the same bytes as captured, and what a client that leaves causes.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};

use super::scheduler::{Script, boom, results_of};
use super::world::World;

const TOKENS: &str = include_str!("captures/run_tok_stream.txt");
const BOOM: &str = include_str!("captures/run_boom_stream.txt");

fn events(capture: &str) -> Vec<Value> {
    let pieces = capture.split("\n\n").filter(|piece| !piece.trim().is_empty());
    pieces.map(|piece| serde_json::from_str(piece).unwrap()).collect()
}

#[tokio::test]
async fn streams_as_captured() {
    let world = World::new().await;
    world.echo_flow().await;
    let mut langflow = events(TOKENS);
    let end = langflow.pop().unwrap();
    let results = results_of(&end["data"]["result"]);
    let _player = Script { langflow, results, ..Script::default() }.play(&world);
    let body = json!({"input_value": "Bob", "session_id": "s2"});
    let answer = world.post("/api/v1/run/echo-ep?stream=true", &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(answer.body, TOKENS);
}

#[tokio::test]
async fn an_error_is_the_last_event() {
    let world = World::new().await;
    world.echo_flow().await;
    let mut langflow = events(BOOM);
    langflow.pop();
    let failure = Some(boom());
    let _player = Script { langflow, failure, ..Script::default() }.play(&world);
    let answer = world.post("/api/v1/run/echo-ep?stream=1", &json!({"input_value": "Bob"})).await;
    assert_eq!(answer.body, BOOM);
}

#[tokio::test]
async fn a_class_that_cannot_be_made_is_one_plain_error() {
    let world = World::new().await;
    world.echo_flow().await;
    let words = "Error creating class. ModuleNotFoundError(No module named 'x').";
    let kind = domain::failure::FailureKind::PackageMissing { package: "x".to_owned() };
    let failure = Some(domain::failure::Failure::new(kind, words));
    let _player = Script { failure, ..Script::default() }.play(&world);
    let answer = world.post("/api/v1/run/echo-ep?stream=true", &json!({})).await;
    insta::assert_snapshot!(answer.text(), @r#"200 {"event": "error", "data": {"error": "Error creating class. ModuleNotFoundError(No module named 'x')."}}"#);
    let answer = world.post("/api/v1/run/echo-ep", &json!({})).await;
    insta::assert_snapshot!(answer.text(), @r#"500 {"detail":"{\"message\":\"Error creating class. ModuleNotFoundError(No module named 'x').\",\"traceback\":null,\"description\":null,\"code\":null,\"suggestion\":null}"}"#);
}

#[tokio::test]
async fn events_of_the_editor_are_left_out() {
    let world = World::new().await;
    world.echo_flow().await;
    // All that lfx 1.13 knows, in the order of `create_default_event_manager`.
    let langflow = [
        "token",
        "vertices_sorted",
        "error",
        "end",
        "add_message",
        "remove_message",
        "end_vertex",
        "build_start",
        "build_end",
        "log",
        "made_up",
    ]
    .map(|name| json!({"event": name, "data": {"name": name}}))
    .to_vec();
    let _player = Script { langflow, ..Script::default() }.play(&world);
    let answer = world.post("/api/v1/run/echo-ep?stream=true", &json!({})).await;
    let mut events = events(&answer.body);
    let last = events.pop().unwrap();
    assert!(last["event"] == "end" && last["data"]["result"].is_object(), "{last}");
    let names: Vec<Value> = events.into_iter().map(|event| event["event"].clone()).collect();
    let passed = ["token", "error", "add_message", "end_vertex", "build_start", "build_end", "log"];
    assert_eq!(names, passed);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_run() {
    let world = World::new().await;
    world.echo_flow().await;
    let langflow = vec![json!({"event": "token", "data": {"chunk": "a", "id": "1"}})];
    let mut player = Script { langflow, hangs: true, ..Script::default() }.play(&world);
    let path = "/api/v1/run/echo-ep?stream=true";
    let response = world.respond(world.request(Method::POST, path, Body::from("{}"))).await;
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"event\": \"token\""));
    drop(body);
    let cancelled = tokio::time::timeout(Duration::from_secs(10), player.cancelled.recv()).await;
    assert!(cancelled.unwrap().is_some());
}

#[tokio::test]
async fn a_run_that_is_named_by_a_key_goes_on_and_is_streamed_again() {
    let world = World::new().await;
    world.echo_flow().await;
    let langflow = vec![json!({"event": "token", "data": {"chunk": "a", "id": "1"}})];
    let mut player = Script { langflow, hangs: true, ..Script::default() }.play(&world);
    for _ in 0..3 {
        let body = Body::from(r#"{"input_value": "Bob"}"#);
        let mut request = world.request(Method::POST, "/api/v1/run/echo-ep?stream=true", body);
        request.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        let mut body = world.respond(request).await.into_body().into_data_stream();
        let first = body.next().await.unwrap().unwrap();
        assert!(first.starts_with(b"{\"event\": \"token\""));
    }
    assert!(player.cancelled.try_recv().is_err(), "nobody's leaving ends it");
    let runs = world.get("/api/flowcell/v1/runs").await.json();
    assert_eq!(runs["total"], 1, "{runs}");
}

#[tokio::test]
async fn a_plain_caller_that_leaves_cancels_only_when_configured() {
    for cancels in [false, true] {
        let config = crate::Config { cancel_abandoned_runs: cancels, ..crate::Config::default() };
        let world = World::with(config).await;
        world.echo_flow().await;
        let mut player = Script { hangs: true, ..Script::default() }.play(&world);
        let body = json!({});
        let waiting = world.post("/api/v1/run/echo-ep", &body);
        let left = tokio::time::timeout(Duration::from_millis(700), waiting).await;
        assert!(left.is_err(), "the run hangs");
        let patience = Duration::from_millis(if cancels { 10_000 } else { 300 });
        let cancelled = tokio::time::timeout(patience, player.cancelled.recv()).await;
        assert_eq!(cancelled.is_ok(), cancels);
    }
}
