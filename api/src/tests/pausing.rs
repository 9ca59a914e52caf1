//! Pausing runs: what is ordered, and who may not be paused.

use std::time::Duration;

use axum::http::StatusCode;
use bus::Queue;
use domain::run::{Command, Run, decide};
use proto::message::{Hold, RunOrder};
use serde_json::json;
use store::Transition;

use super::world::World;

const RUNS: &str = "/api/flowcell/v1/runs";

/// Follows orders as a scheduler does, until the router is done.
async fn follow(world: &World) {
    let mut orders = world.bus.consumer(&Queue::Runs).await.unwrap();
    loop {
        for delivery in orders.fetch(8, Duration::from_secs(1)).await.unwrap() {
            let order: RunOrder = serde_json::from_slice(&delivery.body).unwrap();
            delivery.ack().await.unwrap();
            let command = match order.hold {
                Some(Hold::Pause) => Command::Pause,
                Some(Hold::Unpause) => Command::Unpause,
                None if order.cancel => Command::Cancel,
                None => continue,
            };
            let engine = world.store.engine();
            let record = engine.load(order.run).await.unwrap().unwrap();
            let decision = decide(&record.run, &command, store::now()).unwrap();
            let mut after: Run = record.run.clone();
            decision.events.iter().for_each(|event| after.apply(event));
            let transition = Transition::new(record.version, after, decision.events, store::now());
            engine.commit(transition).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_run_is_paused_explained_and_goes_on() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let asked = async {
        for _ in 0..2 {
            let paused = world.post(&format!("{RUNS}/{run}/pause"), &json!({})).await;
            assert_eq!(paused.status, StatusCode::OK, "{}", paused.body);
            assert_eq!(paused.json(), json!({"id": run, "state": "paused"}));
        }
        let why = world.get(&format!("{RUNS}/{run}/explain")).await.json();
        assert_eq!((&why["state"], &why["reason"]), (&json!("paused"), &json!("paused")));
        assert!(why["text"].as_str().unwrap().contains("flowcell unpause"), "{why}");
        assert_eq!(why["tasks"][0]["reason"], "paused");
        let listed = world.get(&format!("{RUNS}?state=paused")).await.json();
        assert_eq!(listed["items"][0]["id"], json!(run));
        for _ in 0..2 {
            let unpaused = world.post(&format!("{RUNS}/{run}/unpause"), &json!({})).await;
            assert_eq!(unpaused.status, StatusCode::OK, "{}", unpaused.body);
            assert_eq!(unpaused.json()["state"], "queued");
        }
        world.post(&format!("{RUNS}/{run}/cancel"), &json!({})).await;
        while !world.get(&format!("{RUNS}/{run}")).await.json()["ended_at"].is_string() {
            tokio::task::yield_now().await;
        }
        let ended = world.post(&format!("{RUNS}/{run}/pause"), &json!({})).await;
        assert_eq!(ended.status, StatusCode::CONFLICT);
        assert!(ended.body.contains("the run has ended: cancelled"), "{}", ended.body);
    };
    tokio::select! {
        () = asked => {}
        () = follow(&world) => {}
    }
    let unknown = format!("{RUNS}/019aa9a0-0000-7000-8000-000000000000/pause");
    assert_eq!(world.post(&unknown, &json!({})).await.status, StatusCode::NOT_FOUND);
}
