//! Runs that wait for a person, on our routes and on those of Langflow's workflows.

use std::time::Duration;

use axum::http::StatusCode;
use bus::Queue;
use domain::id::{MessageId, RunId, WorkerEpoch};
use domain::run::Event;
use serde_json::{Value, json};
use store::{Asked, Transition, now};
use uuid::Uuid;

use super::world::World;

const RUNS: &str = "/api/flowcell/v1/runs";
const WORKFLOWS: &str = "/api/v2/workflows";

/// A run that was started in the background, and asks whether to go on.
async fn asking(world: &World) -> (RunId, String) {
    let flow = world.echo_flow().await;
    let run = start(world, &json!({"flow_id": flow, "mode": "background"})).await;
    (run, asks(world, run).await)
}

async fn start(world: &World, body: &Value) -> RunId {
    let started = world.post(WORKFLOWS, body).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.body);
    started.json()["job_id"].as_str().unwrap().parse().unwrap()
}

/// Has the run ask, as a scheduler would. Gives the question's id.
async fn asks(world: &World, run: RunId) -> String {
    let record = world.store.engine().load(run).await.unwrap().unwrap();
    let id = format!("ChatInput-aaaaa:{run}");
    let (worker, at) = (WorkerEpoch(Uuid::new_v4()), now());
    let events = vec![
        Event::RunStarted,
        Event::TaskReady { task: 0, not_before: None },
        Event::TaskLeased { task: 0, attempt: 1, worker, at },
        Event::TaskPaused { task: 0, attempt: 1 },
        Event::RunSuspended { at },
    ];
    let mut after = record.run;
    events.iter().for_each(|event| after.apply(event));
    let mut change = Transition::new(record.version, after, events, at);
    change.asked = Some(Asked {
        task: 0,
        attempt: 1,
        node: "ChatInput-aaaaa".into(),
        request_id: id.clone(),
        request: json!({
            "request_id": id, "kind": "node_input", "prompt": "Go on?",
            "options": [{"action_id": "approve", "label": "Approve"}],
            "allowed_decisions": ["approve", "reject"],
        }),
        saved: [].into(),
        card: MessageId(Uuid::new_v4()),
        flow: record.flow,
        session_id: record.session_id,
        shown: json!({}),
    });
    world.store.engine().commit(change).await.unwrap();
    id
}

fn code(answer: &Value) -> &str {
    answer["detail"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_question_is_seen_and_answered_once() {
    let world = World::new().await;
    let (run, id) = asking(&world).await;
    let view = world.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!(
        (&view["state"], &view["tasks"][0]["state"]),
        (&json!("suspended"), &json!("paused"))
    );
    let asked = &view["requests"][0];
    assert_eq!((&asked["request_id"], &asked["decision"]), (&json!(id), &Value::Null));
    assert_eq!(asked["request"]["prompt"], "Go on?");

    let resume = format!("{RUNS}/{run}/resume");
    let decide = |action: &str| json!({"decision": {"action_id": action}});
    let wrong = world.post(&resume, &decide("escalate")).await;
    insta::assert_snapshot!(wrong.text(), @r#"422 {"error":{"code":"body_invalid","message":"the body is invalid: decision.action_id must be one of approve, reject","action":"correct the request"}}"#);
    let named = json!({"request_id": "x", "decision": {"action_id": "approve"}});
    assert_eq!(world.post(&resume, &named).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post(&resume, &decide("approve")).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.post(&resume, &decide("approve")).await.status, StatusCode::OK);
    let other = world.post(&resume, &decide("reject")).await;
    assert_eq!(
        (other.status, &other.json()["error"]["code"]),
        (StatusCode::CONFLICT, &json!("conflict"))
    );
    let view = world.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!(view["requests"][0]["decision"], json!({"action_id": "approve"}));
}

#[tokio::test]
async fn a_run_that_asked_nothing_has_nothing_to_answer() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let body = json!({"decision": {"action_id": "approve"}});
    let answer = world.post(&format!("{RUNS}/{run}/resume"), &body).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let nothing = world.post(&format!("{RUNS}/{}/resume", Uuid::new_v4()), &body).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn workflows_show_what_is_asked_and_take_the_answer() {
    let world = World::new().await;
    let (run, id) = asking(&world).await;
    let status = world.get(&format!("{WORKFLOWS}?job_id={run}")).await.json();
    assert_eq!((&status["object"], &status["status"]), (&json!("job"), &json!("suspended")));
    let flow = status["flow_id"].as_str().unwrap();
    let pending = world.get(&format!("{WORKFLOWS}/pending?flow_id={flow}")).await.json();
    assert_eq!(pending.as_array().map(Vec::len), Some(1));
    assert_eq!((&pending[0]["job_id"], &pending[0]["request_id"]), (&json!(run), &json!(id)));
    assert_eq!(pending[0]["allowed_decisions"], json!(["approve", "reject"]));

    let resume = format!("{WORKFLOWS}/{run}/resume");
    let body = |request: &str, action: &str| json!({"request_id": request, "decision": {"action_id": action}});
    let wrong = world.post(&resume, &body(&id, "escalate")).await;
    assert_eq!(
        (wrong.status, code(&wrong.json())),
        (StatusCode::UNPROCESSABLE_ENTITY, "INVALID_DECISION")
    );
    let stale = world.post(&resume, &body("x", "approve")).await;
    assert_eq!((stale.status, code(&stale.json())), (StatusCode::CONFLICT, "NOT_RESUMABLE"));
    let accepted = world.post(&resume, &body(&id, "approve")).await;
    assert_eq!(accepted.json()["status"], "resuming");
    for action in ["approve", "reject"] {
        let again = world.post(&resume, &body(&id, action)).await;
        assert_eq!((again.status, code(&again.json())), (StatusCode::CONFLICT, "NOT_RESUMABLE"));
    }
    let pending = world.get(&format!("{WORKFLOWS}/pending?flow_id={flow}")).await.json();
    assert_eq!(pending, json!([]));
}

#[tokio::test]
async fn a_new_run_takes_the_place_of_one_that_waits_and_a_repetition_does_not() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let body = json!({"flow_id": flow, "mode": "background", "idempotency_key": "once"});
    let first = start(&world, &body).await;
    asks(&world, first).await;
    assert_eq!(start(&world, &body).await, first);
    let second = start(&world, &json!({"flow_id": flow, "mode": "background"})).await;
    assert_ne!(second, first);

    let mut orders = world.bus.consumer(&Queue::Runs).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let fetched = orders.fetch(8, Duration::from_secs(1)).await.unwrap();
        if fetched.is_empty() {
            break;
        }
        for order in fetched {
            let body: Value = serde_json::from_slice(&order.body).unwrap();
            seen.push((body["run"].clone(), body["cancel"] == true));
            order.ack().await.unwrap();
        }
    }
    assert_eq!(seen, [(json!(first), false), (json!(second), false), (json!(first), true)]);
}

#[tokio::test]
async fn workflows_are_refused_in_langflows_words() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let nothing = Uuid::nil();
    let answer = world.post(WORKFLOWS, &json!({"flow_id": nothing})).await;
    assert_eq!((answer.status, code(&answer.json())), (StatusCode::NOT_FOUND, "FLOW_NOT_FOUND"));
    let answer = world.post(WORKFLOWS, &json!({"flow_id": flow, "extra": 1})).await;
    insta::assert_snapshot!(answer.text(), @r#"422 {"detail":[{"type":"extra_forbidden","loc":["body","extra"],"msg":"Extra inputs are not permitted"}]}"#);
    let answer = world.post(WORKFLOWS, &json!({"flow_id": "x"})).await;
    insta::assert_snapshot!(answer.text(), @r#"422 {"detail":[{"type":"value_error","loc":["body"],"msg":"Value error, Invalid flow_id, must be a UUID"}]}"#);
    for body in [json!({"mode": "stream"}), json!({"data": {}}), json!({"files": []})] {
        let mut whole = json!({"flow_id": flow});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let answer = world.post(WORKFLOWS, &whole).await;
        assert_eq!(code(&answer.json()), "UNSUPPORTED_FIELDS", "{body}");
    }
    let answer = world.get(WORKFLOWS).await;
    assert_eq!(
        (answer.status, code(&answer.json())),
        (StatusCode::BAD_REQUEST, "MISSING_PARAMETER")
    );
    let answer = world.get(&format!("{WORKFLOWS}?job_id={nothing}")).await;
    assert_eq!((answer.status, code(&answer.json())), (StatusCode::NOT_FOUND, "JOB_NOT_FOUND"));
    let answer = world.post(&format!("{WORKFLOWS}/stop"), &json!({"job_id": nothing})).await;
    assert_eq!((answer.status, code(&answer.json())), (StatusCode::NOT_FOUND, "JOB_NOT_FOUND"));
}
