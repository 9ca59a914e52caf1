//! How long runs are kept: who may set it, and what holds.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::retention::Settings;
use serde_json::{Value, json};

use super::world::{World, as_caller};
use crate::Config;

const PATH: &str = "/api/flowcell/v1/retention";

#[tokio::test]
async fn a_tenant_s_values_hold_one_by_one() {
    let retention = Settings { runs_days: 90, ..Settings::default() };
    let world = World::with(Config { retention, ..Config::default() }).await;
    let nothing = json!({"runs_days": 90, "messages": false, "set": {}});
    assert_eq!(world.get(PATH).await.json(), nothing);
    let set = world.put(PATH, &json!({"messages": true})).await.json();
    let expected = json!({"runs_days": 90, "messages": true, "set": {"messages": true}});
    assert_eq!(set, expected);
    let set = world.put(PATH, &json!({"runs_days": 0})).await.json();
    let expected = json!({"runs_days": 0, "messages": false, "set": {"runs_days": 0}});
    assert_eq!(set, expected, "what is left out is unset");
    assert_eq!(world.get(PATH).await.json(), expected);
    assert_eq!(world.delete(PATH).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(PATH).await.json(), nothing);
}

#[tokio::test]
async fn what_cannot_be_and_who_may_not_are_refused() {
    let world = World::new().await;
    for wrong in [json!({"runs_days": 36_501}), json!({"runs_days": -1}), json!({"days": 1})] {
        let refused = world.put(PATH, &wrong).await;
        assert!(refused.status.is_client_error(), "{wrong}: {}", refused.body);
    }
    let as_other = async |method, body: Value| {
        let body = Body::from(body.to_string());
        world.send(as_caller(&world.other, method, PATH, body)).await.status
    };
    assert_eq!(as_other(Method::GET, json!(null)).await, StatusCode::OK);
    assert_eq!(as_other(Method::PUT, json!({"runs_days": 1})).await, StatusCode::FORBIDDEN);
    assert_eq!(as_other(Method::DELETE, json!(null)).await, StatusCode::FORBIDDEN);
    assert_eq!(world.get(PATH).await.json()["set"], json!({}), "nothing was set");
}
