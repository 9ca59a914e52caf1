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
    insta::assert_snapshot!(created.text(), @r#"201 {"host":"api.openai.com","port":443,"private":false}"#);
    let private = json!({"host": "api.openai.com", "port": 443, "private": true});
    assert_eq!(world.post(EGRESS, &private).await.status, StatusCode::OK);
    assert_eq!(world.get(EGRESS).await.json(), json!([private]));
    for body in [
        json!({"host": "https://x", "port": 1}),
        json!({"host": "", "port": 1}),
        json!({"host": "x", "port": 0}),
        json!({"host": "x", "port": 1, "extra": 1}),
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
