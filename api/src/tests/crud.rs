//! Flows, projects, variables, keys and messages as Langflow's clients use them.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::id::FlowId;
use serde_json::{Value, json};
use store::NewMessage;

use super::world::{World, as_caller, echo_body};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_flow_from_birth_to_death() {
    let world = World::new().await;
    let created = world.post("/api/v1/flows", &echo_body("echo")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let flow = created.json();
    assert_eq!(
        keys(&flow).join(" "),
        "name description icon icon_bg_color gradient data \
        is_component updated_at webhook endpoint_name tags locked mcp_enabled action_name \
        action_description access_type flow_type a2a_enabled a2a_card_overrides id user_id \
        folder_id workspace_id name_key version_token"
    );
    assert_eq!((&flow["access_type"], &flow["tags"]), (&json!("PRIVATE"), &Value::Null));
    let again = world.post("/api/v1/flows/", &echo_body("echo")).await.json();
    assert_eq!(
        (&again["name"], &again["endpoint_name"]),
        (&json!("echo (1)"), &json!("echo-ep-1"))
    );
    let path = format!("/api/v1/flows/{}", flow["id"].as_str().unwrap());
    assert_eq!(world.get(&path).await.json(), flow);
    let taken = world.patch(&path, &json!({"name": "echo (1)"})).await;
    insta::assert_snapshot!(taken.text(), @r#"400 {"detail":"Name must be unique"}"#);
    let patch = json!({"description": "d", "locked": true, "endpoint_name": null, "tags": ["x"]});
    let patched = world.patch(&path, &patch).await.json();
    assert_eq!(patched["description"], "d");
    assert_eq!((&patched["locked"], &patched["endpoint_name"]), (&json!(true), &Value::Null));
    assert_eq!((&patched["tags"], &patched["data"]), (&json!(["x"]), &flow["data"]));
    let deleted = world.delete(&path).await;
    insta::assert_snapshot!(deleted.text(), @r#"200 {"message":"Flow deleted successfully"}"#);
    insta::assert_snapshot!(world.get(&path).await.text(), @r#"404 {"detail":"Flow not found"}"#);
    let wrong = world.get("/api/v1/flows/nope").await;
    insta::assert_snapshot!(wrong.text(), @r#"422 {"detail":[{"type":"uuid_parsing","loc":["path","flow_id"],"msg":"Input should be a valid UUID, invalid character: found `n` at 1"}]}"#);
}

#[tokio::test]
async fn a_changed_graph_is_a_new_version() {
    let world = World::new().await;
    let id = world.echo_flow().await;
    let plan = || world.get("/api/flowcell/v1/flows/echo/plan");
    let before = plan().await.json()["version_id"].clone();
    let data = testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
    let path = format!("/api/v1/flows/{id}");
    assert_eq!(world.patch(&path, &json!({"data": data})).await.status, StatusCode::OK);
    let after = plan().await.json()["version_id"].clone();
    assert_ne!(before, after);
    let back = echo_body("echo")["data"].clone();
    world.patch(&path, &json!({"data": back})).await;
    assert_eq!(plan().await.json()["version_id"], before, "the same content is the same version");
    let empty = world.post("/api/v1/flows/", &json!({"name": "empty", "data": {}})).await;
    assert_eq!(empty.status, StatusCode::CREATED, "{}", empty.body);
    let run = world.post("/api/flowcell/v1/runs", &json!({"flow": "empty"})).await;
    assert_eq!(run.json()["error"]["code"], "flow_invalid");
}

#[tokio::test]
async fn bodies_of_flows_are_checked() {
    let world = World::new().await;
    let post = async |body: Value| world.post("/api/v1/flows/", &body).await.text();
    insta::assert_snapshot!(post(json!({"data": {}})).await, @r#"422 {"detail":[{"type":"missing","loc":["body","name"],"msg":"Field required"}]}"#);
    insta::assert_snapshot!(post(json!({"name": 1})).await, @r#"422 {"detail":[{"type":"string_type","loc":["body","name"],"msg":"Input should be a valid string"}]}"#);
    insta::assert_snapshot!(post(json!({"name": "x", "data": {"edges": []}})).await, @r#"422 {"detail":[{"type":"value_error","loc":["body","data"],"msg":"Value error, Flow must have nodes"}]}"#);
    insta::assert_snapshot!(post(json!({"name": "x", "endpoint_name": "a b"})).await, @r#"422 {"detail":[{"type":"value_error","loc":["body","endpoint_name"],"msg":"Value error, Endpoint name must contain only letters, numbers, hyphens, and underscores"}]}"#);
}

#[tokio::test]
async fn flows_are_listed_in_three_ways() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.post("/api/v1/flows/", &echo_body(name)).await;
    }
    let all = world.get("/api/v1/flows/").await.json();
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    assert!(all[0]["data"]["nodes"].is_array());
    let headers = world.get("/api/v1/flows/?get_all=true&header_flows=true").await.json();
    assert_eq!(headers[0]["data"], Value::Null);
    assert_eq!(
        keys(&headers[0]).join(" "),
        "id name folder_id is_component endpoint_name \
        description data access_type tags mcp_enabled flow_type a2a_enabled a2a_card_overrides \
        action_name action_description updated_at"
    );
    let page =
        world.get("/api/v1/flows/?get_all=false&header_flows=true&page=2&size=2").await.json();
    assert_eq!(keys(&page).join(" "), "items total page size pages");
    assert_eq!((&page["total"], &page["pages"]), (&json!(3), &json!(2)));
    assert_eq!(page["items"][0]["name"], "c");
    let other = world.send(as_caller(&world.other, Method::GET, "/api/v1/flows/", Body::empty()));
    assert_eq!(other.await.json(), json!([]));
}

#[tokio::test]
async fn values_of_variables_never_come_back() {
    let world = World::new().await;
    let new =
        json!({"name": "MYKEY", "value": "s3cret", "type": "Credential", "default_fields": []});
    let created = world.post("/api/v1/variables/", &new).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(created.body.replace(&id, "ID"), @r#"{"id":"ID","name":"MYKEY","type":"Credential","value":null,"has_value":true,"default_fields":[],"is_owner":true,"can_manage_shares":true,"validation_error":null,"is_valid":null}"#);
    let again = world.post("/api/v1/variables/", &new).await;
    insta::assert_snapshot!(again.text(), @r#"400 {"detail":"Variable name already exists"}"#);
    let empty = world.post("/api/v1/variables/", &json!({"name": "x", "value": ""})).await;
    insta::assert_snapshot!(empty.text(), @r#"400 {"detail":"Variable value cannot be empty"}"#);
    let path = format!("/api/v1/variables/{id}");
    let patch = json!({"id": id, "name": "MYKEY", "value": "n3w", "type": "Generic"});
    let patched = world.patch(&path, &patch).await;
    assert_eq!(patched.json()["type"], "Generic", "{}", patched.body);
    let revealed =
        world.store.tenant(world.admin.tenant).reveal(&["MYKEY".to_owned()]).await.unwrap();
    assert_eq!(revealed["MYKEY"].expose(), "n3w");
    let list = world.get("/api/v1/variables/").await;
    assert!(!list.body.contains("n3w") && !list.body.contains("s3cret"), "{}", list.body);
    let foreign = world.send(as_caller(&world.other, Method::DELETE, &path, Body::empty())).await;
    insta::assert_snapshot!(foreign.text(), @r#"404 {"detail":"Variable not found"}"#);
    assert_eq!(world.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/v1/variables").await.json(), json!([]));
}

#[tokio::test]
async fn a_key_is_shown_once_and_ends_at_once() {
    let world = World::new().await;
    let created = world.post("/api/v1/api_key/", &json!({"name": "k1"})).await.json();
    assert_eq!(
        keys(&created).join(" "),
        "name last_used_at total_uses is_active expires_at id api_key user_id"
    );
    let secret = created["api_key"].as_str().unwrap().to_owned();
    let mut caller = world.admin.clone();
    caller.key = secret.clone();
    let list = || world.send(as_caller(&caller, Method::GET, "/api/v1/api_key/", Body::empty()));
    let answer = list().await;
    assert!(!answer.body.contains(&secret));
    assert_eq!(answer.json()["total_count"], 2);
    let masked = answer.json()["api_keys"][1]["api_key"].as_str().unwrap().to_owned();
    assert_eq!(masked.len(), secret.len());
    assert!(masked.starts_with(&secret[..8]) && masked.ends_with("*****"), "{masked}");
    let path = format!("/api/v1/api_key/{}", created["id"].as_str().unwrap());
    let foreign = world.send(as_caller(&world.other, Method::DELETE, &path, Body::empty())).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    insta::assert_snapshot!(world.delete(&path).await.text(), @r#"200 {"detail":"API Key deleted"}"#);
    assert_eq!(list().await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn projects() {
    let world = World::new().await;
    let list = world.get("/api/v1/projects/").await.json();
    assert_eq!(list[0]["name"], "Starter Project");
    assert_eq!(
        keys(&list[0]).join(" "),
        "name description auth_settings id parent_id owner_username is_owner"
    );
    let created = world.post("/api/v1/projects/", &json!({"name": "P"})).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let project = created.json()["id"].clone();
    let mut flow = echo_body("in-p");
    flow["folder_id"] = project.clone();
    assert_eq!(world.post("/api/v1/flows/", &flow).await.json()["folder_id"], project);
    let page = format!("/api/v1/flows/?get_all=false&folder_id={}", project.as_str().unwrap());
    assert_eq!(world.get(&page).await.json()["total"], 1);
    for method in [Method::GET, Method::POST] {
        let request = world.request(method, "/api/v1/folders/", Body::from("{}"));
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.headers["location"], "/api/v1/projects/");
    }
}

async fn say(world: &World, flow: FlowId, session: &str, text: &str, second: i64) {
    let at = domain::time::Timestamp(1_700_000_000_000 + second * 1_000);
    let new = NewMessage {
        id: None,
        flow,
        session_id: session.to_owned(),
        run: None,
        task: None,
        sender: "User".to_owned(),
        sender_name: "User".to_owned(),
        timestamp: at,
        data: json!({"text": text, "files": ["a.png"], "data": {"context_id": ""}}),
    };
    world.store.tenant(world.admin.tenant).store_message(new).await.unwrap();
}

#[tokio::test]
async fn messages_are_filtered_and_deleted_by_session() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    for (second, (session, text)) in (0..).zip([("s1", "a"), ("s2", "b"), ("s1", "c")]) {
        say(&world, flow, session, text, second).await;
    }
    let texts = async |query: &'static str| {
        let list = world.get(&format!("/api/v1/monitor/messages{query}")).await.json();
        let texts = list.as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>().join("")
    };
    assert_eq!(texts("").await, "abc");
    assert_eq!(texts("?session_id=s1").await, "ac");
    assert_eq!(texts("?session_id=s1&order=DESC&limit=1").await, "c");
    assert_eq!(texts("?flow_id=00000000-0000-4000-8000-000000000000").await, "");
    let first = world.get("/api/v1/monitor/messages?limit=3").await.json()[0].clone();
    assert_eq!(
        keys(&first).join(" "),
        "id flow_id timestamp sender sender_name session_id \
        context_id text files edit duration properties category content_blocks session_metadata"
    );
    assert_eq!(first["files"], r#"["a.png"]"#);
    assert_eq!(first["timestamp"], "2023-11-14 22:13:20.000000 UTC");
    let mut sessions = world.get("/api/v1/monitor/messages/sessions").await.json();
    sessions.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(sessions, json!(["s1", "s2"]));
    let path = "/api/v1/monitor/messages/session/s1";
    let foreign = world.send(as_caller(&world.other, Method::DELETE, path, Body::empty())).await;
    assert_eq!(foreign.status, StatusCode::NO_CONTENT);
    assert_eq!(texts("").await, "abc", "nothing of another tenant");
    assert_eq!(world.delete(path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(texts("").await, "b");
    let body = Body::from("[]");
    let nothing = world.request(Method::DELETE, "/api/v1/monitor/messages", body);
    assert_eq!(world.send(nothing).await.status, StatusCode::NO_CONTENT);
    assert_eq!(texts("").await, "b", "an empty list is not everything");
}
