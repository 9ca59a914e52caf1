//! How runs take their turn: what is set, what a run asks for, and when there are too many.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::admission::LimitKey;
use domain::id::RunId;
use serde_json::{Value, json};

use super::world::{World, as_caller};
use crate::Config;

const TENANT: &str = "/api/flowcell/v1/admission";
const FLOW: &str = "/api/flowcell/v1/flows/echo/admission";
const RUNS: &str = "/api/flowcell/v1/runs";

#[tokio::test]
async fn settings_are_shown_set_and_unset() {
    let world = World::new().await;
    world.echo_flow().await;
    assert_eq!(world.get(TENANT).await.json(), json!({}));
    let set = json!({"weight": 200, "slots_max": 8, "runs_max": 4, "queued_max": 0, "runs_per_minute": 60});
    assert_eq!(world.put(TENANT, &set).await.json(), set);
    assert_eq!(world.get(TENANT).await.json(), set);
    assert_eq!(world.put(TENANT, &json!({})).await.json(), json!({}));
    assert_eq!(world.get(TENANT).await.json(), json!({}));

    let set = json!({"runs_max": 1, "pool": "gpu"});
    assert_eq!(world.put(FLOW, &set).await.json(), set);
    assert_eq!(world.get(FLOW).await.json(), set);

    let key = world.post("/api/v1/api_key/", &json!({"name": "k"})).await.json();
    let key = format!("/api/flowcell/v1/keys/{}/admission", key["id"].as_str().unwrap());
    assert_eq!(world.get(&key).await.json(), json!({}));
    assert_eq!(world.put(&key, &json!({"runs_max": 3})).await.json(), json!({"runs_max": 3}));
    assert_eq!(world.get(&key).await.json(), json!({"runs_max": 3}));
}

#[tokio::test]
async fn wrong_settings_are_told_and_only_a_superuser_sets_a_tenants() {
    let world = World::new().await;
    world.echo_flow().await;
    for (path, body, said) in [
        (TENANT, json!({"wait": 1}), "there is no field \"wait\"; there are weight, slots_max"),
        (TENANT, json!({"runs_max": 0}), "runs_max must be at least 1"),
        (TENANT, json!({"weight": 10_001}), "weight must be at most 10000"),
        (FLOW, json!({"pool": "a.b"}), "pool must be 1 to 48 letters, digits and -"),
        (FLOW, json!({"weight": 1}), "there is no field \"weight\"; there are runs_max, pool"),
        (
            FLOW,
            json!({"retry": {"tries": 1}}),
            "retry has no field \"tries\"; there are attempts_max",
        ),
        (FLOW, json!({"retry": {"attempts_max": 0}}), "retry.attempts_max must be at least 1"),
        (FLOW, json!({"retry": {"errors": ["slow"]}}), "there is no failure \"slow\""),
        (FLOW, json!({"nodes": {"X-1": {"pool": "gpu"}}}), "id or display name \"X-1\""),
        (FLOW, json!({"nodes": {"ChatInput": {"gpu": 1}}}), "nodes.ChatInput has no field \"gpu\""),
    ] {
        let answer = world.put(path, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(answer.body.contains(&said.replace('"', "\\\"")), "{}", answer.body);
    }
    let ordinary = as_caller(&world.other, Method::PUT, TENANT, Body::from(r#"{"weight": 9}"#));
    assert_eq!(world.send(ordinary).await.status, StatusCode::FORBIDDEN);
    let foreign = as_caller(&world.other, Method::GET, FLOW, Body::empty());
    assert_eq!(world.send(foreign).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_operator_sets_what_holds_for_another_tenant() {
    let world = World::new().await;
    let theirs = |path: &str| {
        let request = as_caller(&world.other, Method::GET, path, Body::empty());
        async { world.send(request).await.json() }
    };
    let of_other = |path: &str| format!("{path}?tenant=other");
    let (limits, retention) = ("/api/flowcell/v1/limits", "/api/flowcell/v1/retention");
    let egress = "/api/flowcell/v1/egress";

    let set = json!({"weight": 50, "runs_max": 2});
    assert_eq!(world.put(&of_other(TENANT), &set).await.json(), set);
    assert_eq!(world.get(&of_other(TENANT)).await.json(), set);
    assert_eq!(theirs(TENANT).await, set);
    assert_eq!(world.get(TENANT).await.json(), json!({}), "one's own stays as it was");

    world.put(&of_other(limits), &json!({"maximum": {"pids": 60}})).await;
    assert_eq!(theirs(limits).await["set"]["maximum"], json!({"pids": 60}));
    world.put(&of_other(retention), &json!({"runs_days": 3})).await;
    assert_eq!(theirs(retention).await["runs_days"], 3);
    world.post(&of_other(egress), &json!({"host": "api.example", "port": 443})).await;
    assert_eq!(theirs(egress).await[0]["host"], "api.example");
    assert_eq!(world.get(egress).await.json(), json!([]));

    for (path, status) in
        [("?tenant=nobody", StatusCode::NOT_FOUND), ("?tenant=", StatusCode::NOT_FOUND)]
    {
        for route in [TENANT, limits, retention, egress] {
            assert_eq!(world.get(&format!("{route}{path}")).await.status, status, "{route}{path}");
        }
    }
    // A user of the tenant may name nobody, not even the own one.
    for name in ["other", "default", "nobody"] {
        for (method, route) in
            [(Method::GET, TENANT), (Method::PUT, limits), (Method::DELETE, retention)]
        {
            let path = format!("{route}?tenant={name}");
            let asked = as_caller(&world.other, method, &path, Body::from("{}"));
            assert_eq!(world.send(asked).await.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
}

async fn started(world: &World, body: Value) -> RunId {
    let answer = world.post(RUNS, &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_run_keeps_what_it_asked_for() {
    let world = World::new().await;
    world.echo_flow().await;
    world.put(FLOW, &json!({"pool": "gpu"})).await;
    let concurrency = json!({"key": "customer-7", "limit": 2});
    let run = started(
        &world,
        json!({"flow": "echo", "priority": -5, "delay_ms": 60_000, "concurrency": concurrency}),
    )
    .await;
    let record = world.store.engine().load(run).await.unwrap().unwrap();
    assert_eq!((record.priority, record.pool.as_deref()), (-5, Some("gpu")));
    let delay = record.not_before.unwrap().since(record.created);
    assert_eq!(delay.as_millis(), 60_000);
    assert_eq!(record.run.deadline.since(record.created).as_millis(), 60_000 + 3_600_000);
    assert!(record.counted_by.contains(&LimitKey::Custom("customer-7".into())));
    assert!(record.counted_by.iter().any(|key| matches!(key, LimitKey::ApiKey(_))));
    let run = started(&world, json!({"flow": "echo", "pool": "big"})).await;
    let record = world.store.engine().load(run).await.unwrap().unwrap();
    assert_eq!((record.pool.as_deref(), record.not_before), (Some("big"), None));
    for body in [
        json!({"flow": "echo", "priority": 101}),
        json!({"flow": "echo", "pool": "a/b"}),
        json!({"flow": "echo", "delay_ms": 99_999_999_999u64}),
        json!({"flow": "echo", "concurrency": {"key": "", "limit": 1}}),
        json!({"flow": "echo", "concurrency": {"key": "k", "limit": 0}}),
    ] {
        let answer = world.post(RUNS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {}", answer.body);
    }
}

#[tokio::test]
async fn nodes_have_pools_and_retries_of_their_own() {
    let world = World::new().await;
    world.echo_flow().await;
    let set = json!({
        "retry": {"attempts_max": 5, "errors": ["timed_out"]},
        "nodes": {"ChatInput": {"pool": "gpu", "retry": {"component_errors": true}}},
    });
    assert_eq!(world.put(FLOW, &set).await.json(), set);
    assert_eq!(world.get(FLOW).await.json(), set);
    let run = started(&world, json!({"flow": "echo", "pool": "big"})).await;
    let record = world.store.engine().load(run).await.unwrap().unwrap();
    assert_eq!((record.run.retry.attempts_max, record.pool.as_deref()), (5, Some("big")));
    let input = record.cells.iter().position(|cell| cell.starts_with("ChatInput")).unwrap();
    for (index, task) in record.run.tasks.iter().enumerate() {
        let terms = &task.terms;
        assert_eq!(terms.pool.as_deref(), (index == input).then_some("gpu"));
        let retry = terms.retry.as_ref().map(|retry| (retry.attempts_max, retry.component_errors));
        assert_eq!(retry, (index == input).then_some((5, true)));
    }
    let plan = world.get("/api/flowcell/v1/flows/echo/plan").await.json();
    let terms = &plan["terms"][input];
    assert_eq!((&terms["pool"], &terms["retry"]["attempts_max"]), (&json!("gpu"), &json!(5)));
    let explained = world.get(&format!("{RUNS}/{run}/explain")).await.json();
    assert_eq!(explained["queue"]["name"], "big");
}

#[tokio::test]
async fn nodes_of_one_container_cannot_have_two_pools() {
    let world = World::new().await;
    world.echo_flow().await;
    let nodes = json!({"ChatInput": {"pool": "gpu"}, "ChatOutput": {"pool": "eu"}});
    assert_eq!(world.put(FLOW, &json!({"nodes": nodes})).await.status, StatusCode::OK);
    let refused = world.post(RUNS, &json!({"flow": "echo", "isolation": "run"})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
    assert!(refused.body.contains("they can have one pool only"), "{}", refused.body);
    let nodes = json!({"ChatInput": {"pool": "gpu"}, "ChatOutput": {"pool": "gpu"}});
    world.put(FLOW, &json!({"nodes": nodes})).await;
    let run = started(&world, json!({"flow": "echo", "isolation": "run"})).await;
    let record = world.store.engine().load(run).await.unwrap().unwrap();
    assert_eq!(record.pool.as_deref(), Some("gpu"), "it waits where all its tasks run");
}

#[tokio::test]
async fn one_run_too_many_is_told_to_come_later() {
    let world = World::with(Config { queued_runs_max: 3, ..Config::default() }).await;
    let flow = world.echo_flow().await;
    let keyed = |key: &str| {
        let body = Body::from(json!({"flow": "echo"}).to_string());
        let mut request = world.request(Method::POST, RUNS, body);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    for key in ["a", "b", "c"] {
        assert_eq!(world.send(keyed(key)).await.status, StatusCode::ACCEPTED);
    }
    let full = world.send(keyed("d")).await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(full.headers["retry-after"], "5");
    insta::assert_snapshot!(full.body, @r#"{"error":{"code":"queue_full","message":"3 runs wait already, and no more may","action":"wait until some have run, or have the tenant's queued_max raised"}}"#);
    let full = world.post(&format!("/api/v1/run/{flow}"), &json!({"input_value": "x"})).await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(full.body.contains("3 runs wait already"), "{}", full.body);
    assert_eq!(world.send(keyed("a")).await.status, StatusCode::OK, "it is there already");
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_again() {
    let world = World::new().await;
    world.echo_flow().await;
    world.put(TENANT, &json!({"runs_per_minute": 6})).await;
    // What comes in ten seconds may come at once: one, and the one that starts the ten seconds.
    for _ in 0..2 {
        started(&world, json!({"flow": "echo"})).await;
    }
    let refused = world.post(RUNS, &json!({"flow": "echo"})).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=11).contains(&after), "{after}");
    insta::assert_snapshot!(refused.body, @r#"{"error":{"code":"too_many_runs","message":"6 runs a minute are accepted","action":"slow down, or have the tenant's runs_per_minute raised"}}"#);
}
