//! Where cells may connect to: everybody reads, only a superuser writes.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::{World, as_caller};

const EGRESS: &str = "/api/flowcell/v1/egress";

#[tokio::test]
async fn only_a_superuser_changes_rules() {
    let world = World::new().await;
    let rule = json!({"host": "API.openai.com.", "port": 443});
    let created = world.post(EGRESS, &rule).await;
    insta::assert_snapshot!(created.text(), @r#"201 {"host":"api.openai.com","port":443,"private":false,"tcp":false,"flow_id":null,"flow_name":null,"node":null}"#);
    let private = json!({"host": "api.openai.com", "port": 443, "private": true});
    assert_eq!(world.post(EGRESS, &private).await.status, StatusCode::OK);
    let listed = world.get(EGRESS).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["host"], &listed[0]["private"]), (&private["host"], &json!(true)));
    for body in [
        json!({"host": "https://x", "port": 1}),
        json!({"host": "", "port": 1}),
        json!({"host": "x", "port": 0}),
        json!({"host": "x", "port": 1, "extra": 1}),
        json!({"host": "x", "port": 1, "node": "a\nb"}),
        json!({"host": "*", "port": 443, "private": true}),
        json!({"host": "*", "port": 443, "tcp": true}),
        json!({"host": "*.org", "port": 5432, "tcp": true}),
        json!({"host": "10.0.0.1", "port": 5432, "tcp": true, "private": true}),
        json!({"host": "*x", "port": 443}),
    ] {
        let answer = world.post(EGRESS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let other = |method, path: &'static str| {
        world.send(as_caller(&world.other, method, path, Body::from(rule.to_string())))
    };
    assert_eq!(other(Method::GET, EGRESS).await.json(), json!([]));
    let refused = other(Method::POST, EGRESS).await;
    insta::assert_snapshot!(refused.text(), @r#"403 {"error":{"code":"forbidden","message":"only a superuser may do this","action":"use the credentials of somebody who may"}}"#);
    let rule = "/api/flowcell/v1/egress?host=api.openai.com&port=443";
    assert_eq!(other(Method::DELETE, rule).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.delete(rule).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(rule).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_rule_is_for_all_or_for_one_flow_and_node() {
    let world = World::new().await;
    let flow = world.echo_flow().await.to_string();
    let allow = async |body: serde_json::Value| world.post(EGRESS, &body).await;
    let db = json!({"host": "db.internal", "port": 5432, "private": true, "tcp": true});
    let mut for_flow = db.clone();
    for_flow["flow"] = json!("echo");
    for_flow["node"] = json!("Prompt-bbbbb");
    let created = allow(for_flow.clone()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let expected = json!({
        "host": "db.internal", "port": 5432, "private": true, "tcp": true,
        "flow_id": flow, "flow_name": "echo", "node": "Prompt-bbbbb",
    });
    assert_eq!(created.json(), expected);
    assert_eq!(allow(for_flow).await.status, StatusCode::OK, "the same again");
    assert_eq!(allow(db).await.status, StatusCode::CREATED, "another scope");
    let any = json!({"host": "*", "port": 0, "node": "URL"});
    assert_eq!(allow(any).await.status, StatusCode::CREATED);
    let unknown = json!({"host": "x.org", "port": 1, "flow": "nothing"});
    assert_eq!(allow(unknown).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(EGRESS).await.json().as_array().unwrap().len(), 3);
    let of_flow = world.get("/api/flowcell/v1/egress?flow=echo").await.json();
    assert_eq!(of_flow.as_array().unwrap().len(), 3, "its own and those for all");
    let one = "/api/flowcell/v1/egress?host=db.internal&port=5432&flow=echo&node=Prompt-bbbbb";
    assert_eq!(world.delete(one).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.delete(one).await.status, StatusCode::NOT_FOUND);
    let any = "/api/flowcell/v1/egress?host=*&port=0&node=URL";
    assert_eq!(world.delete(any).await.status, StatusCode::NO_CONTENT);
    let left = world.get(EGRESS).await.json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["node"]), (1, &json!(null)));
}

#[tokio::test]
async fn tcp_needs_a_name_and_says_so() {
    let world = World::new().await;
    let refused = world.post(EGRESS, &json!({"host": "10.0.0.1", "port": 5432, "tcp": true})).await;
    insta::assert_snapshot!(refused.text(), @r#"422 {"error":{"code":"body_invalid","message":"the body is invalid: tcp needs a name: a cell finds the destination by it, and an address cannot lead elsewhere; give the server a name that the workers' hosts can resolve","action":"correct the request"}}"#);
}

#[tokio::test]
async fn connections_belong_to_the_run_s_tenant() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let path = format!("/api/flowcell/v1/runs/{run}/connections");
    assert_eq!(world.get(&path).await.json(), json!({"items": [], "omitted": 0}));
    let foreign = as_caller(&world.other, Method::GET, &path, Body::empty());
    assert_eq!(world.send(foreign).await.status, StatusCode::NOT_FOUND);
}
