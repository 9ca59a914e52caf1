//! `/api/v1/run`: answers byte for byte as captured, and the ways to read a body.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use domain::tweaks::Policy;
use serde_json::{Value, json};
use store::{Page, RunFilter};

use super::scheduler::{Script, boom, results_of};
use super::world::World;
use crate::Config;

const ECHO: &str = include_str!("captures/run_echo.txt");
const DEBUG: &str = include_str!("captures/run_debug.txt");
const BOOM: &str = include_str!("captures/run_boom.txt");

fn captured(text: &str) -> Script {
    let results = results_of(&serde_json::from_str(text).unwrap());
    Script { results, ..Script::default() }
}

#[tokio::test]
async fn answers_as_captured() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = captured(ECHO).play(&world);
    let body = json!({"input_value": "Bob", "session_id": "s1"});
    let answer = world.post("/api/v1/run/echo-ep", &body).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ECHO.trim_end()));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn debug_answers_with_every_node_in_the_flows_order() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let _player = captured(DEBUG).play(&world);
    let body = json!({"input_value": "Bob", "output_type": "debug"});
    let answer = world.post(&format!("/api/v1/run/{flow}"), &body).await.json();
    assert_eq!(answer["session_id"], flow.to_string());
    let ids: Vec<String> = results_of(&answer).into_iter().map(|(node, _)| node).collect();
    assert_eq!(ids, ["ChatInput-aaaaa", "Prompt-bbbbb", "ChatOutput-ccccc"]);
}

#[tokio::test]
async fn a_key_names_one_run_on_every_route_that_waits() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let _player = Script::default().play(&world);
    let ask = async |path: &str, key: &str, body: Value| {
        let mut request = world.request(Method::POST, path, Body::from(body.to_string()));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        world.send(request).await
    };
    let (run, workflow) = ("/api/v1/run/echo-ep", "/api/v2/workflows");
    let body = json!({"input_value": "Bob"});
    let first = ask(run, "a", body.clone()).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    assert_eq!(ask(run, "a", body).await.json(), first.json());
    let other = ask(run, "a", json!({"input_value": "Ada"})).await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{}", other.body);
    let body = json!({"flow_id": flow, "input_value": "Bob"});
    let first = ask(workflow, "b", body.clone()).await.json();
    assert_eq!(ask(workflow, "b", body).await.json()["job_id"], first["job_id"]);
    let runs = world.get("/api/flowcell/v1/runs").await.json();
    assert_eq!(runs["total"], 2, "{runs}");
}

#[tokio::test]
async fn a_component_error_is_a_500_with_json_in_its_detail() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = Script { failure: Some(boom()), ..Script::default() }.play(&world);
    let answer = world.post("/api/v1/run/echo-ep", &json!({"input_value": "Bob"})).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body, BOOM.trim_end());
}

#[tokio::test]
async fn a_failure_suggests_to_update_old_components() {
    let world = World::new().await;
    let mut flow = super::world::echo_body("old");
    flow["data"]["nodes"][0]["data"]["node"]["lf_version"] = Value::Null;
    flow["data"]["nodes"][1]["data"]["node"]["lf_version"] = json!("1.13.0");
    flow["data"]["nodes"][2]["data"]["node"]["lf_version"] = json!("1.4.2");
    world.post("/api/v1/flows/", &flow).await;
    let _player = Script { failure: Some(boom()), ..Script::default() }.play(&world);
    let answer = world.post("/api/v1/run/old-ep", &json!({})).await.json();
    let detail: Value = serde_json::from_str(answer["detail"].as_str().unwrap()).unwrap();
    insta::assert_snapshot!(detail["suggestion"].as_str().unwrap(), @"The flow contains 2 outdated components. We recommend updating the following components: ChatInput-aaaaa, ChatOutput-ccccc.");
}

#[tokio::test]
async fn flows_are_found_by_id_and_endpoint_name_only() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let _player = captured(ECHO).play(&world);
    for name in
        [flow.to_string(), flow.uuid().simple().to_string().to_uppercase(), "echo-ep".into()]
    {
        let answer = world.post(&format!("/api/v1/run/{name}"), &json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.json()["outputs"][0]["inputs"], json!({}));
    }
    let answer = world.post("/api/v1/run/echo", &json!({})).await;
    insta::assert_snapshot!(answer.text(), @r#"404 {"detail":"Flow identifier echo not found"}"#);
    let answer = world.post("/api/v1/run/nope", &json!({})).await;
    insta::assert_snapshot!(answer.text(), @r#"404 {"detail":"Flow identifier nope not found"}"#);
    let answer = world.post("/api/v1/run/echo-ep/?stream=true", &json!({})).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers["location"], "/api/v1/run/echo-ep?stream=true");
}

#[tokio::test]
async fn tweaks_are_refused_before_anything_runs() {
    let world = World::new().await;
    world.echo_flow().await;
    let body = json!({"input_value": "Bob", "tweaks": {"ChatInput-aaaaa": {"input_value": "x"}}});
    let conflict = world.post("/api/v1/run/echo-ep", &body).await;
    insta::assert_snapshot!(conflict.text(), @r#"400 {"detail":"If you pass an input_value to the chat input, you cannot pass a tweak with the same name."}"#);
    let streamed = world.post("/api/v1/run/echo-ep?stream=true", &body).await;
    insta::assert_snapshot!(streamed.text(), @r#"200 {"event": "error", "data": {"error": "If you pass an input_value to the chat input, you cannot pass a tweak with the same name."}}"#);
    let body = json!({"tweaks": {"Prompt-bbbbb": {"code": "import os"}}});
    let refused = world.post("/api/v1/run/echo-ep", &body).await;
    insta::assert_snapshot!(refused.text(), @r#"422 {"detail":{"error":"Refused tweaks","code":"TWEAKS_REFUSED","message":"The field is protected and keeps the value set by the flow author.","fields":["code"]}}"#);
    let streamed = world.post("/api/v1/run/echo-ep?stream=true", &body).await;
    insta::assert_snapshot!(streamed.text(), @r#"200 {"event": "error", "data": {"error": "Refused tweak keys ['code']: The field is protected and keeps the value set by the flow author."}}"#);
    let banana = world.post("/api/v1/run/echo-ep?stream=banana", &json!({})).await;
    insta::assert_snapshot!(banana.text(), @r#"422 {"detail":[{"type":"bool_parsing","loc":["query","stream"],"msg":"Input should be a valid boolean, unable to interpret input"}]}"#);
    let runs = world.get("/api/flowcell/v1/runs").await;
    assert_eq!(runs.json()["total"], 0);
}

#[tokio::test]
async fn the_operator_may_refuse_tweaks() {
    let world = World::with(Config { tweaks_policy: Policy::Off, ..Config::default() }).await;
    world.echo_flow().await;
    let body = json!({"tweaks": {"Prompt-bbbbb": {"input_value": "x"}}});
    let refused = world.post("/api/v1/run/echo-ep", &body).await;
    insta::assert_snapshot!(refused.text(), @r#"422 {"detail":{"error":"Refused tweaks","code":"TWEAKS_REFUSED","message":"This deployment does not accept tweaks.","fields":["input_value"]}}"#);
    let mut body = body;
    body["flow"] = json!("echo");
    let durable = world.post("/api/flowcell/v1/runs", &body).await;
    assert_eq!(durable.json()["error"]["code"], "tweaks_refused");
    let mut webhook = super::world::echo_body("hook");
    webhook["data"] = testkit::flows::graph(&[("Webhook-aaaaa", &[])]);
    world.post("/api/v1/flows/", &webhook).await;
    let taken = world.post("/api/v1/webhook/hook-ep", &json!({})).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED);
}

/// `inputs` and `session_id` tell how a body was read.
async fn read(world: &World, content: &str, body: impl Into<Body>) -> String {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/run/echo-ep")
        .header("x-api-key", &world.admin.key)
        .header("content-type", content)
        .body(body.into())
        .unwrap();
    let answer = world.send(request).await;
    if answer.status != StatusCode::OK {
        return answer.text();
    }
    let answer = answer.json();
    let session = answer["session_id"].as_str().unwrap();
    let session = if session.len() == 36 { "default" } else { session };
    format!("{} {session}", answer["outputs"][0]["inputs"])
}

#[tokio::test]
async fn bodies_are_read_as_langflow_reads_them() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = captured(ECHO).play(&world);
    let given = r#"{"input_value":"Bob"} s"#;
    let empty = "{} default";
    let json = "application/json";
    for (content, body, expected) in [
        (json, r#"{"input_value": "Bob", "session_id": "s", "extra": 1}"#, given),
        (
            json,
            r#"{"input_request": {"input_value": "Bob", "session_id": "s"}, "context": {}}"#,
            given,
        ),
        ("text/plain", r#"{"input_value": "Bob", "session_id": "s"}"#, given),
        (json, "{}", empty),
        (json, "", empty),
        (json, r#"{"input_request": null}"#, empty),
        (json, r#"{"input_value": 7, "session_id": "s"}"#, empty),
        (json, r#"{"input_value": "Bob", "tweaks": [1]}"#, empty),
        (json, r#"{"input_value": "Bob", "output_type": "nonsense"}"#, empty),
        (json, r#"{"input_value": "Bob", "x": NaN}"#, empty),
        (json, r#"{"input_value": "", "session_id": ""}"#, r#"{"input_value":""} default"#),
        ("application/x-www-form-urlencoded", "input_value=Bob", empty),
    ] {
        assert_eq!(read(&world, content, body).await, expected, "{content} {body}");
    }
    let form = "--B\r\ncontent-disposition: form-data; name=\"input_value\"\r\n\r\nBob\r\n\
                --B\r\ncontent-disposition: form-data; name=\"session_id\"\r\n\r\ns\r\n--B--\r\n";
    assert_eq!(read(&world, "multipart/form-data; boundary=B", form).await, given);
}

#[tokio::test]
async fn bodies_are_refused_as_langflow_refuses_them() {
    let world = World::new().await;
    world.echo_flow().await;
    let json = "application/json";
    insta::assert_snapshot!(read(&world, json, r#"{"input_value":"#).await, @r#"422 {"detail":[{"type":"json_invalid","loc":["body",15],"msg":"JSON decode error"}]}"#);
    insta::assert_snapshot!(read(&world, json, "[1,2]").await, @r#"422 {"detail":[{"type":"missing","loc":["body","input_request"],"msg":"Field required"},{"type":"missing","loc":["body","context"],"msg":"Field required"}]}"#);
    insta::assert_snapshot!(read(&world, json, r#"{"input_request":{"input_value":7}}"#).await, @r#"422 {"detail":[{"type":"string_type","loc":["body","input_request","input_value"],"msg":"Input should be a valid string"}]}"#);
    insta::assert_snapshot!(read(&world, json, r#"{"input_request":{"output_type":"x"},"context":3}"#).await, @r#"422 {"detail":[{"type":"literal_error","loc":["body","input_request","output_type"],"msg":"Input should be 'chat', 'text', 'any' or 'debug'","ctx":{"expected":"'chat', 'text', 'any' or 'debug'"}},{"type":"dict_type","loc":["body","context"],"msg":"Input should be a valid dictionary"}]}"#);
    insta::assert_snapshot!(read(&world, json, vec![0xff]).await, @r#"400 {"detail":"There was an error parsing the body"}"#);
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let world = World::with(Config { request_bytes_max: 100, ..Config::default() }).await;
    world.echo_flow().await;
    let big = json!({"input_value": "x".repeat(200)});
    let answer = world.post("/api/v1/run/echo-ep", &big).await;
    insta::assert_snapshot!(answer.text(), @r#"413 {"detail":"the body is too large"}"#);
    let answer = world.post("/api/flowcell/v1/runs", &big).await;
    assert_eq!(answer.json()["error"]["code"], "body_too_large");
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_ended_from_the_row() {
    let world = World::new().await;
    world.echo_flow().await;
    let mut script = captured(ECHO);
    script.loses_end = true;
    let _player = script.play(&world);
    let answer = world.post("/api/v1/run/echo-ep", &json!({"input_value": "Bob"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["outputs"][0]["outputs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_flow_of_somebody_else_does_not_exist() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let request = super::world::as_caller(
        &world.other,
        Method::POST,
        &format!("/api/v1/run/{flow}"),
        Body::from("{}"),
    );
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let detail = Value::from(format!("Flow identifier {flow} not found"));
    assert_eq!(answer.json()["detail"], detail);
}

#[tokio::test]
async fn variables_in_headers_are_stored_sealed() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = captured(ECHO).play(&world);
    let mut request = world.request(Method::POST, "/api/v1/run/echo-ep", Body::from("{}"));
    let headers = request.headers_mut();
    for (name, value) in [("Token", "first"), ("TOKEN", "s3cret-\u{e9}"), ("my_name-x", "Bob")] {
        let name = format!("X-Langflow-Global-Var-{name}").to_lowercase();
        let value: Vec<u8> = value.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    assert_eq!(world.send(request).await.status, StatusCode::OK);

    let tenant = world.store.tenant(world.admin.tenant);
    let run = tenant.runs(&RunFilter::default(), Page::first(9)).await.unwrap().items.remove(0).id;
    let request = tenant.run(run).await.unwrap().request;
    assert!(!request.to_string().contains("s3cret"), "{request}");
    let sealed = serde_json::from_value(request["variables"].clone()).unwrap();
    let opened = tenant.reveal_of_run(run, &sealed).await.unwrap();
    let opened: Vec<_> = opened.iter().map(|(name, value)| (&**name, value.expose())).collect();
    assert_eq!(opened, [("MY_NAME-X", "Bob"), ("TOKEN", "s3cret-\u{e9}")]);

    // Without any the request looks as it did before.
    world.post("/api/v1/run/echo-ep", &json!({})).await;
    let runs = tenant.runs(&RunFilter::default(), Page::first(9)).await.unwrap().items;
    let plain = runs.iter().find(|header| header.id != run).unwrap().id;
    assert_eq!(tenant.run(plain).await.unwrap().request.get("variables"), None);
}
