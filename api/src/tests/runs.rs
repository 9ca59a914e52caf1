//! Durable runs: started, looked at, repeated, cancelled; and never seen by another tenant.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::id::RunId;
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use domain::terms::TaskTerms;
use proto::http::{RunAccepted, RunChild, RunParent, RunView};
use serde_json::{Value, json};
use store::{NewRun, NewTask, Parent};
use uuid::Uuid;

use super::scheduler::{Script, boom, results_of};
use super::world::{World, as_caller};

const ECHO: &str = include_str!("captures/run_echo.txt");
const RUNS: &str = "/api/flowcell/v1/runs";

fn captured() -> Script {
    let results = results_of(&serde_json::from_str(ECHO).unwrap());
    Script { results, ..Script::default() }
}

/// Follows the run to its end.
async fn finish(world: &World, id: &str) -> RunView {
    let events = world.get(&format!("{RUNS}/{id}/events")).await;
    assert!(events.body.contains("event: run."), "{}", events.body);
    serde_json::from_value(world.get(&format!("{RUNS}/{id}")).await.json()).unwrap()
}

#[tokio::test]
async fn a_run_is_accepted_followed_and_read() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let _player = captured().play(&world);
    let body = json!({"flow": "echo", "input_value": "Bob", "session_id": "s1"});
    let answer = world.post(RUNS, &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let accepted: RunAccepted = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(accepted.state, "queued");
    assert_eq!(accepted.links.events, format!("{RUNS}/{}/events", accepted.id));
    let view = finish(&world, &accepted.id).await;
    assert_eq!((view.state.as_str(), view.flow_name.as_str()), ("completed", "echo"));
    assert_eq!(view.flow_id, flow.to_string());
    let cells: Vec<&str> = view.tasks.iter().map(|task| task.cell.as_str()).collect();
    assert_eq!(cells, ["ChatInput-aaaaa", "Prompt-bbbbb", "ChatOutput-ccccc"]);
    assert_eq!(view.result.unwrap(), serde_json::from_str::<Value>(ECHO).unwrap());
    let list = world.get(&format!("{RUNS}?flow=echo&state=completed")).await.json();
    assert_eq!((&list["total"], &list["items"][0]["id"]), (&json!(1), &json!(accepted.id)));
    let none = world.get(&format!("{RUNS}?state=failed")).await.json();
    let nothing = json!({"items": [], "next": null, "total": 0, "total_is_exact": true});
    assert_eq!(none, nothing);
    let wrong = world.get(&format!("{RUNS}?state=lost")).await;
    assert_eq!(wrong.json()["error"]["code"], "body_invalid");
}

#[tokio::test]
async fn a_run_that_a_component_started_is_found_from_its_parent_and_back() {
    let world = World::new().await;
    world.echo_flow().await;
    let above = world.start("echo").await;
    let tenant = world.store.tenant(world.admin.tenant);
    let header = tenant.run_header(above).await.unwrap();
    let parent = Parent { run: above, task: 1, attempt: 1, repeated: 0, depth: 1 };
    let new = NewRun {
        id: RunId(Uuid::now_v7()),
        flow: header.flow,
        version: header.version,
        tasks: vec![NewTask {
            cell: "ChatInput-aaaaa".into(),
            depends_on: vec![],
            terms: TaskTerms::default(),
        }],
        request: json!({"session_id": "s"}),
        session_id: "s".into(),
        deadline: header.deadline,
        retry: RetryPolicy::default(),
        limits: CellLimits::default(),
        isolation: header.isolation,
        idempotency_key: None,
        parent: Some(parent),
        again: None,
        detached: false,
        turn: store::Turn::default(),
        submitted_by: None,
        now: store::now(),
    };
    let below = tenant.submit(new).await.unwrap().run;
    let view = async |id: RunId| -> RunView {
        serde_json::from_value(world.get(&format!("{RUNS}/{id}")).await.json()).unwrap()
    };
    let shown = view(above).await;
    let child = RunChild { id: below.to_string(), task: 1, state: "queued".into() };
    assert_eq!((shown.parent, shown.children), (None, vec![child]));
    let shown = view(below).await;
    let parent = RunParent { id: above.to_string(), task: 1 };
    assert_eq!((shown.parent, shown.children), (Some(parent), vec![]));
    let list = world.get(&format!("{RUNS}?parent_id={above}")).await.json();
    assert_eq!((&list["total"], &list["items"][0]["id"]), (&json!(1), &json!(below.to_string())));
    let none = world.get(&format!("{RUNS}?parent_id={below}")).await.json();
    assert_eq!(none["total"], 0);
}

#[tokio::test]
async fn a_run_may_start_and_stop_at_nodes_that_exist() {
    let world = World::new().await;
    world.echo_flow().await;
    let body = json!({"flow": "echo", "start_component_id": "ChatInput-aaaaa", "stop_component_id": "Prompt-bbbbb"});
    let accepted: RunAccepted =
        serde_json::from_value(world.post(RUNS, &body).await.json()).unwrap();
    let tenant = world.store.tenant(world.admin.tenant);
    let request = tenant.run(accepted.id.parse().unwrap()).await.unwrap().request;
    let ends = (&request["start_component_id"], &request["stop_component_id"]);
    assert_eq!(ends, (&json!("ChatInput-aaaaa"), &json!("Prompt-bbbbb")));
    let body = json!({"flow": "echo", "stop_component_id": "Prompt"});
    let refused = world.post(RUNS, &body).await;
    insta::assert_snapshot!(refused.text(), @r#"422 {"error":{"code":"body_invalid","message":"the body is invalid: stop_component_id: the flow has no node \"Prompt\"","action":"correct the request"}}"#);
}

#[tokio::test]
async fn a_run_may_say_how_much_of_it_shares_a_container() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = captured().play(&world);
    let body =
        json!({"flow": "echo", "input_value": "Bob", "session_id": "s1", "isolation": "run"});
    let accepted: RunAccepted =
        serde_json::from_value(world.post(RUNS, &body).await.json()).unwrap();
    let view = finish(&world, &accepted.id).await;
    assert_eq!((view.state.as_str(), view.tasks.len()), ("completed", 1));
    assert_eq!(view.result.unwrap(), serde_json::from_str::<Value>(ECHO).unwrap());

    let wrong = world.post(RUNS, &json!({"flow": "echo", "isolation": "none"})).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let plan = world.get("/api/flowcell/v1/flows/echo/plan?isolation=run").await.json();
    assert_eq!(
        (&plan["isolation"], plan["cells"].as_array().map(Vec::len)),
        (&json!("run"), Some(1))
    );
    assert_eq!(plan["cells"][0]["why"], json!(["isolation is run"]));
    let plan = world.get("/api/flowcell/v1/flows/echo/plan").await.json();
    assert_eq!(plan["isolation"], "component");
}

#[tokio::test]
async fn a_failed_run_says_why() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = Script { failure: Some(boom()), ..Script::default() }.play(&world);
    let run = world.start("echo").await;
    let view = finish(&world, &run.to_string()).await;
    assert_eq!((view.state.as_str(), view.result.as_ref()), ("failed", None));
    assert_eq!(view.failure.unwrap(), boom());
}

#[tokio::test]
async fn an_idempotency_key_names_one_run() {
    let world = World::new().await;
    world.echo_flow().await;
    let start = |input: &str| {
        let body = Body::from(json!({"flow": "echo", "input_value": input}).to_string());
        let mut request = world.request(Method::POST, RUNS, body);
        request.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
        world.send(request)
    };
    let (first, again) = (start("a").await, start("a").await);
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::OK));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = start("b").await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.body);
    assert_eq!(other.json()["error"]["code"], "conflict");
}

#[tokio::test]
async fn a_run_can_be_cancelled() {
    let world = World::new().await;
    world.echo_flow().await;
    let mut player = Script { hangs: true, ..Script::default() }.play(&world);
    let run = world.start("echo").await;
    let cancel = format!("{RUNS}/{run}/cancel");
    assert_eq!(world.post(&cancel, &json!({})).await.status, StatusCode::ACCEPTED);
    assert_eq!(player.cancelled.recv().await, Some(run));
    assert_eq!(finish(&world, &run.to_string()).await.state, "cancelled");
    assert_eq!(world.post(&cancel, &json!({})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let world = World::new().await;
    world.echo_flow().await;
    let nothing = world.post(RUNS, &json!({"flow": "nope"})).await;
    insta::assert_snapshot!(nothing.text(), @r#"404 {"error":{"code":"flow_not_found","message":"there is no flow \"nope\"","action":"list the flows with GET /api/v1/flows/"}}"#);
    for body in [
        json!({"flow": "echo", "inputs": 1}),
        json!({}),
        json!({"flow": "echo", "output_type": "all"}),
        json!({"flow": "echo", "deadline_ms": 0}),
    ] {
        let answer = world.post(RUNS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.json()["error"]["code"], "body_invalid");
    }
    let tweaks = json!({"flow": "echo", "tweaks": {"Prompt-bbbbb": {"code": "x"}}});
    let refused = world.post(RUNS, &tweaks).await;
    assert_eq!(refused.json()["error"]["code"], "tweaks_refused");
    assert_eq!(world.get(&format!("{RUNS}/nonsense")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_tenant_sees_no_run() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    for (method, path) in [
        (Method::GET, format!("{RUNS}/{run}")),
        (Method::GET, format!("{RUNS}/{run}/events")),
        (Method::GET, format!("{RUNS}/{run}/ws")),
        (Method::POST, format!("{RUNS}/{run}/cancel")),
        (Method::GET, "/api/flowcell/v1/flows/echo/plan".to_owned()),
    ] {
        let answer = world.send(as_caller(&world.other, method, &path, Body::from("{}"))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.body);
    }
    let list = world.send(as_caller(&world.other, Method::GET, RUNS, Body::empty())).await;
    assert_eq!(list.json()["total"], 0);
    let start = Body::from(json!({"flow": "echo"}).to_string());
    let start = world.send(as_caller(&world.other, Method::POST, RUNS, start)).await;
    assert_eq!(start.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_plan_explains_itself() {
    let world = World::new().await;
    world.echo_flow().await;
    let plan = world.get("/api/flowcell/v1/flows/echo-ep/plan").await.json();
    assert_eq!(plan["flow_name"], "echo");
    assert_eq!(plan["cells"].as_array().map(Vec::len), Some(3));
    assert_eq!(plan["edges"][0]["from"], "ChatInput-aaaaa.message");
    let me = world.get("/api/flowcell/v1/me").await.json();
    assert_eq!((&me["username"], &me["is_superuser"]), (&json!("admin"), &json!(true)));
}

#[tokio::test]
async fn pages_of_runs_follow_each_other_while_runs_come() {
    let world = World::new().await;
    world.echo_flow().await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(world.start("echo").await.to_string());
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/api/flowcell/v1/runs?flow=echo&limit=2".to_owned();
    loop {
        let page = world.get(&path).await.json();
        let ids = page["items"].as_array().unwrap().iter();
        seen.extend(ids.map(|run| run["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/flowcell/v1/runs?flow=echo&limit=2&after={next}");
        // With an offset this one would push a run of the last page onto the next.
        world.start("echo").await;
    }
    accepted.reverse();
    assert_eq!(seen, accepted);
    for wrong in ["after=x", "after=1-2", "offset=10001"] {
        let refused = world.get(&format!("/api/flowcell/v1/runs?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {}", refused.body);
    }
}
