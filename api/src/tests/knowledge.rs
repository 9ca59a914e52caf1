//! Knowledge bases as Langflow's clients manage them.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{World, as_caller};

const BASES: &str = "/api/v1/knowledge_bases/";

fn laws() -> Value {
    json!({"name": "old laws", "embedding_provider": "OpenAI", "embedding_model": "small"})
}

#[tokio::test]
async fn a_base_from_birth_to_death() {
    let world = World::new().await;
    let made = world.post(BASES, &laws()).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(made.text().replace(&id, "ID"), @r#"201 {"id":"ID","dir_name":"old_laws","name":"old laws","embedding_provider":"OpenAI","embedding_model":"small","size":0,"words":0,"characters":0,"chunks":0,"avg_chunk_size":0.0,"chunk_size":null,"chunk_overlap":null,"separator":null,"status":"empty","failure_reason":null,"last_job_id":null,"source_types":[],"column_config":null,"backend_type":"sqlite","backend_config":{},"storage_state":"ready","storage_generation":1,"active_migration_id":null}"#);
    let one = format!("{BASES}old_laws");
    insta::assert_snapshot!(world.get(&one).await.text().replace(&id, "ID"), @r#"200 {"id":"ID","dir_name":"old_laws","name":"old laws","embedding_provider":"OpenAI","embedding_model":"small","size":0,"words":0,"characters":0,"chunks":0,"avg_chunk_size":0.0,"chunk_size":1000,"chunk_overlap":200,"separator":null,"status":"empty","failure_reason":null,"last_job_id":null,"source_types":[],"column_config":[],"backend_type":"sqlite","backend_config":{},"storage_state":"ready","storage_generation":1,"active_migration_id":null}"#);
    assert_eq!(world.get(BASES).await.json(), json!([world.get(&one).await.json()]));
    insta::assert_snapshot!(world.post(BASES, &laws()).await.text(), @r#"409 {"detail":"Knowledge base 'old_laws' already exists"}"#);
    let foreign = as_caller(&world.other, Method::GET, &one, Body::empty());
    insta::assert_snapshot!(world.send(foreign).await.text(), @r#"404 {"detail":"Knowledge base 'old_laws' not found"}"#);
    insta::assert_snapshot!(world.delete(&one).await.text(), @r#"200 {"message":"Knowledge base 'old_laws' deleted successfully"}"#);
    assert_eq!(world.get(BASES).await.json(), json!([]));
}

#[tokio::test]
async fn bodies_are_checked() {
    let world = World::new().await;
    let post = async |change: Value| {
        let mut body = laws();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.post(BASES, &body).await.text()
    };
    insta::assert_snapshot!(world.post(BASES, &json!({"name": 1})).await.text(), @r#"422 {"detail":[{"type":"string_type","loc":["body","name"],"msg":"Input should be a valid string"},{"type":"missing","loc":["body","embedding_provider"],"msg":"Field required"},{"type":"missing","loc":["body","embedding_model"],"msg":"Field required"}]}"#);
    insta::assert_snapshot!(post(json!({"name": "ab"})).await, @r#"400 {"detail":"Knowledge base name must be at least 3 characters"}"#);
    insta::assert_snapshot!(post(json!({"name": "../laws"})).await, @r#"403 {"detail":"Access denied for knowledge base '../laws'."}"#);
    insta::assert_snapshot!(post(json!({"embedding_provider": " "})).await, @r#"404 {"detail":"Model provider not found"}"#);
    let other = json!({"model_selection": {"name": "m", "provider": "Other"}});
    insta::assert_snapshot!(post(other).await, @r#"404 {"detail":"Model provider not found"}"#);
    insta::assert_snapshot!(post(json!({"backend_type": "postgres"})).await, @r#"422 {"detail":[{"type":"value_error","loc":["body","backend_type"],"msg":"Value error, Vector-store backend 'postgres' is not enabled in this build. Available backends: sqlite."}]}"#);
}

#[tokio::test]
async fn several_are_deleted_at_once() {
    let world = World::new().await;
    assert_eq!(world.post(BASES, &laws()).await.status, StatusCode::CREATED);
    let delete = async |body: Value| {
        let body = Body::from(body.to_string());
        world.send(as_caller(&world.admin, Method::DELETE, BASES, body)).await.text()
    };
    insta::assert_snapshot!(delete(json!({"kb_names": ["old_laws", "none"]})).await, @r#"200 {"message":"Successfully deleted 1 knowledge base(s)","deleted_count":1,"not_found":"none"}"#);
    insta::assert_snapshot!(delete(json!({"kb_names": ["old_laws"]})).await, @r#"404 {"detail":"Knowledge bases not found: old_laws"}"#);
    insta::assert_snapshot!(delete(json!({"kb_names": "all"})).await, @r#"422 {"detail":[{"type":"list_type","loc":["body","kb_names"],"msg":"Input should be a valid list"}]}"#);
}
