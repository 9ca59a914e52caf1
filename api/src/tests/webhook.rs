//! `/api/v1/webhook`, and flows that wait for a person.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use domain::id::{FlowId, RunId};
use serde_json::{Value, json};
use store::{Page, RunFilter};

use super::world::{Answer, World};

async fn upload(world: &World, data: Value) -> FlowId {
    let body = json!({"name": "hook", "endpoint_name": "hook-ep", "data": data});
    let answer = world.post("/api/v1/flows/", &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

fn hook_data() -> Value {
    testkit::flows::graph(&[
        ("Webhook-aaaaa", &[]),
        ("Webhook-bbbbb", &[]),
        ("Prompt-ccccc", &["Webhook-aaaaa"]),
        ("ChatOutput-ddddd", &["Prompt-ccccc"]),
    ])
}

async fn runs(world: &World) -> Vec<RunId> {
    let tenant = world.store.tenant(world.admin.tenant);
    let listing = tenant.runs(&RunFilter::default(), Page::first(9)).await.unwrap();
    listing.items.iter().map(|run| run.id).collect()
}

async fn receive(world: &World, path: &str, body: impl Into<Body>) -> Answer {
    world.send(world.request(Method::POST, path, body.into())).await
}

#[tokio::test]
async fn a_webhook_starts_a_run_with_its_payload() {
    let world = World::new().await;
    let flow = upload(&world, hook_data()).await;
    let path = "/api/v1/webhook/hook-ep";
    let answer = receive(&world, path, r#"{"a": "Zoë"}"#).await;
    insta::assert_snapshot!(answer.text(), @r#"202 {"message":"Task started in the background","status":"in progress"}"#);
    let started = runs(&world).await;
    assert_eq!(started.len(), 1);
    let tenant = world.store.tenant(world.admin.tenant);
    let request = tenant.run(started[0]).await.unwrap().request;
    assert_eq!(request["session_id"], flow.to_string());
    assert_eq!(request["input_value"], "");
    let payload = json!({"data": r#"{"a": "Zoë"}"#});
    let tweaks = json!({"Webhook-aaaaa": payload, "Webhook-bbbbb": payload});
    assert_eq!(request["tweaks"], tweaks);
}

#[tokio::test]
async fn a_repeated_delivery_starts_no_second_run() {
    let world = World::new().await;
    upload(&world, hook_data()).await;
    for _ in 0..2 {
        let body = Body::from("{}");
        let mut request = world.request(Method::POST, "/api/v1/webhook/hook-ep", body);
        request.headers_mut().insert("idempotency-key", "delivery-1".parse().unwrap());
        assert_eq!(world.send(request).await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(runs(&world).await.len(), 1);
}

#[tokio::test]
async fn webhooks_are_refused_as_langflow_refuses_them() {
    let world = World::new().await;
    upload(&world, hook_data()).await;
    let path = "/api/v1/webhook/hook-ep";
    insta::assert_snapshot!(receive(&world, path, "").await.text(), @r#"400 {"detail":"Request body is empty. You should provide a JSON payload containing the flow ID."}"#);
    let unknown = receive(&world, "/api/v1/webhook/nope", "{}").await;
    insta::assert_snapshot!(unknown.text(), @r#"404 {"detail":"Flow identifier nope not found"}"#);
    let ask = |name: &'static str, value: &'static str| {
        let request = Request::builder().method(Method::POST).uri(path).header(name, value);
        world.send(request.body(Body::from("{}")).unwrap())
    };
    insta::assert_snapshot!(ask("accept", "*/*").await.text(), @r#"403 {"detail":"API key required when webhook authentication is enabled"}"#);
    insta::assert_snapshot!(ask("x-api-key", "sk-no").await.text(), @r#"403 {"detail":"Invalid API key"}"#);
    assert_eq!(runs(&world).await, []);
}

#[tokio::test]
async fn a_flow_that_waits_for_a_person_is_not_run_while_somebody_waits_for_it() {
    let world = World::new().await;
    let data =
        testkit::flows::graph(&[("HumanInput-aaaaa", &[]), ("Out-b", &["HumanInput-aaaaa"])]);
    upload(&world, data).await;
    let plain = world.post("/api/v1/run/hook-ep", &json!({})).await;
    insta::assert_snapshot!(plain.text(), @r#"400 {"detail":"This flow uses Human-in-the-Loop (a Human Input node or a tool that requires approval), which the v1 run API cannot execute because it cannot pause and resume. Run it with the v2 workflows API instead: POST /api/v2/workflows with mode='background', then resume via POST /api/v2/workflows/{job_id}/resume."}"#);
    assert_eq!(receive(&world, "/api/v1/webhook/hook-ep", "{}").await.text(), plain.text());
    let streamed = world.post("/api/v1/run/hook-ep?stream=true", &json!({})).await;
    assert_eq!(streamed.status, StatusCode::OK);
    let error = streamed.json()["data"]["error"].as_str().unwrap().to_owned();
    assert_eq!(error, format!("400: {}", plain.json()["detail"].as_str().unwrap()));
    assert_eq!(runs(&world).await, []);
}
