//! Limits of a tenant and of a flow: what holds, who may set what, and what a run gets.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::limits::{CellLimits, Setting, TenantLimits};
use serde_json::{Value, json};

use super::world::{Answer, World, as_caller, echo_body};
use crate::Config;

const TENANT: &str = "/api/flowcell/v1/limits";
const FLOW: &str = "/api/flowcell/v1/flows/echo/limits";

async fn as_other(world: &World, method: Method, path: &str, body: Value) -> Answer {
    world.send(as_caller(&world.other, method, path, Body::from(body.to_string()))).await
}

#[tokio::test]
async fn the_nearest_value_holds_and_says_where_it_comes_from() {
    let world = World::new().await;
    world.echo_flow().await;
    let defaults = world.get(TENANT).await.json();
    assert_eq!(defaults["set"], json!({"limits": {}, "maximum": {}}));
    assert_eq!(defaults["limits"].as_object().unwrap().len(), Setting::ALL.len());
    insta::assert_snapshot!(defaults["limits"]["pids"], @r#"{"value":128,"from":"platform","least":8,"most":4096}"#);

    let body = json!({
        "limits": {"pids": 50, "cpu_ms": 1000},
        "maximum": {"pids": 60, "frames_max": 100},
    });
    let set = world.put(TENANT, &body).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    assert_eq!(set.json()["set"], body);
    assert_eq!(set.json(), world.get(TENANT).await.json());
    let body = json!({"limits": {"pids": 55}});
    let set = world.put(FLOW, &body).await.json();
    assert_eq!(set["set"], body);
    insta::assert_snapshot!(set["limits"]["pids"], @r#"{"value":55,"from":"flow","least":8,"most":60}"#);
    insta::assert_snapshot!(set["limits"]["cpu_ms"], @r#"{"value":1000,"from":"tenant","least":100,"most":1382400000}"#);
    insta::assert_snapshot!(set["limits"]["frames_max"], @r#"{"value":100,"from":"platform","lowered_by":"tenant","least":10,"most":100}"#);
    assert_eq!(set, world.get(FLOW).await.json());

    // What is left out is unset.
    world.put(FLOW, &json!({"limits": {"wall_ms": 5000}})).await;
    let found = world.get(FLOW).await.json();
    assert_eq!(found["limits"]["pids"]["from"], "tenant");
    assert_eq!(world.delete(FLOW).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(TENANT).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(TENANT).await.json(), defaults);
    assert_eq!(world.delete(TENANT).await.status, StatusCode::NO_CONTENT, "again");
}

#[tokio::test]
async fn a_run_gets_what_holds_when_it_is_accepted() {
    let cell_max = CellLimits { tokens_max: 10, ..CellLimits::most() };
    let world = World::with(Config { cell_max, ..Config::default() }).await;
    world.echo_flow().await;
    let before = world.start("echo").await;
    world.put(TENANT, &json!({"limits": {"cpu_ms": 900}, "maximum": {"pids": 20}})).await;
    world.put(FLOW, &json!({"limits": {"open_files": 100}})).await;
    let after = world.start("echo").await;
    let limits = async |run| world.store.engine().load(run).await.unwrap().unwrap().limits;
    let platform = CellLimits { tokens_max: 10, ..CellLimits::default() };
    assert_eq!(limits(before).await, platform, "what runs is left alone");
    let expected = CellLimits { cpu_ms: 900, pids: 20, open_files: 100, ..platform };
    assert_eq!(limits(after).await, expected);
}

#[tokio::test]
async fn what_cannot_be_is_named_with_its_range() {
    let world = World::new().await;
    world.echo_flow().await;
    let wrong = world.put(FLOW, &json!({"limits": {"pids": 1}})).await;
    insta::assert_snapshot!(wrong.text(), @r#"422 {"error":{"code":"limits_invalid","message":"limits.pids is 1; whole numbers from 8 to 4096 are allowed","action":"correct the values; a superuser may set more than other users","details":{"problems":[{"field":"limits.pids","value":"1","least":8,"most":4096,"message":"limits.pids is 1; whole numbers from 8 to 4096 are allowed"}]}}}"#);
    let many = json!({
        "limits": {"pids": "many", "gpus": 1, "cpu_ms": 1.5, "wall_ms": -1, "frames_max": null},
        "maximum": {"memory_bytes": u64::MAX, "open_files": 64},
    });
    let problems = world.put(TENANT, &many).await.json()["error"]["details"]["problems"].clone();
    let fields: Vec<&str> =
        problems.as_array().unwrap().iter().map(|p| p["field"].as_str().unwrap()).collect();
    let expected = [
        "maximum.memory_bytes",
        "limits.pids",
        "limits.gpus",
        "limits.cpu_ms",
        "limits.wall_ms",
        "limits.frames_max",
    ];
    assert_eq!(fields, expected);
    let above = json!({"limits": {"pids": 70}, "maximum": {"pids": 60}});
    let above = world.put(TENANT, &above).await.json();
    assert_eq!(above["error"]["details"]["problems"][0]["most"], 60, "{above}");
    let long = world.put(TENANT, &json!({"limits": {"x".repeat(5_000): "y".repeat(5_000)}})).await;
    assert!(long.body.len() < 2_000, "{}", long.body);
    for body in [json!({"limit": {}}), json!([]), json!({"limits": {}, "maximum": {}})] {
        let answer = world.put(FLOW, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.json()["error"]["code"], "body_invalid", "{body}");
    }
    assert_eq!(world.get(TENANT).await.json()["set"]["limits"], json!({}), "nothing was set");
    let unknown = world.get("/api/flowcell/v1/flows/nope/limits").await;
    assert_eq!(unknown.json()["error"]["code"], "flow_not_found");
}

#[tokio::test]
async fn a_user_sets_limits_of_flows_as_far_as_the_tenants_go() {
    let world = World::new().await;
    let made = as_other(&world, Method::POST, "/api/v1/flows/", echo_body("echo")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let theirs = made.json()["id"].as_str().unwrap().to_owned();
    for (method, body) in [(Method::PUT, json!({"limits": {}})), (Method::DELETE, json!({}))] {
        let refused = as_other(&world, method, TENANT, body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let put = async |pids: u64| {
        let body = json!({"limits": {"pids": pids}});
        as_other(&world, Method::PUT, FLOW, body).await.status
    };
    assert_eq!(put(128).await, StatusCode::OK, "the platform's default");
    assert_eq!(put(129).await, StatusCode::UNPROCESSABLE_ENTITY);
    let tenant = world.store.tenant(world.other.tenant);
    let set = |pids| [(Setting::Pids, pids)].into_iter().collect();
    let limits = TenantLimits { limits: set(40), ..TenantLimits::default() };
    tenant.set_limits(&limits).await.unwrap();
    assert_eq!(put(40).await, StatusCode::OK, "the tenant's own");
    assert_eq!(put(41).await, StatusCode::UNPROCESSABLE_ENTITY);
    tenant.set_limits(&TenantLimits { maximum: set(300), ..limits }).await.unwrap();
    assert_eq!(put(300).await, StatusCode::OK, "the tenant's maximum");
    assert_eq!(put(301).await, StatusCode::UNPROCESSABLE_ENTITY);
    // What an operator has set may stay.
    let flow = theirs.parse().unwrap();
    tenant.set_limits(&TenantLimits::default()).await.unwrap();
    tenant.set_flow_limits(flow, &set(500)).await.unwrap();
    assert_eq!(put(500).await, StatusCode::OK);
    assert_eq!(put(501).await, StatusCode::UNPROCESSABLE_ENTITY);
    let path = format!("/api/flowcell/v1/flows/{theirs}/limits");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = Body::from(r#"{"limits":{}}"#);
        let foreign = world.send(world.request(method, &path, body)).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(tenant.flow_limits(flow).await.unwrap(), set(500));
}
