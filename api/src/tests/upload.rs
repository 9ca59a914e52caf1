//! Importing flows in every form, and what is refused.

use std::io::Write;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::world::{Answer, World, echo_body, echo_data};
use crate::Config;

const UPLOAD: &str = "/api/v1/flows/upload/";

async fn upload(world: &World, file: &[u8]) -> Answer {
    let mut body =
        b"--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--B--\r\n");
    let request = Request::builder()
        .method(Method::POST)
        .uri(UPLOAD)
        .header("x-api-key", &world.admin.key)
        .header("content-type", "multipart/form-data; boundary=B")
        .body(Body::from(body))
        .unwrap();
    world.send(request).await
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn names(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.json().as_array().unwrap().iter().map(|flow| flow["name"].clone()).collect()
}

#[tokio::test]
async fn every_form_of_file_is_taken() {
    let world = World::new().await;
    let (a, b) = (echo_body("a"), echo_body("b"));
    assert_eq!(names(&upload(&world, a.to_string().as_bytes()).await), ["a"]);
    let list = json!({"flows": [a, b]}).to_string();
    assert_eq!(names(&upload(&world, list.as_bytes()).await), ["a (1)", "b"]);
    let array = json!([b]).to_string();
    assert_eq!(names(&upload(&world, array.as_bytes()).await), ["b (1)"]);
    let (a, b) = (a.to_string(), b.to_string());
    let files: [(&str, &[u8]); 4] = [
        ("x/a.json", a.as_bytes()),
        ("b.json", b.as_bytes()),
        ("README.md", b"hello"),
        ("__MACOSX/b.json", b"junk"),
    ];
    assert_eq!(names(&upload(&world, &archive(&files)).await), ["a (2)", "b (2)"]);
    let plan = world.get("/api/flowcell/v1/flows/a/plan").await;
    assert_eq!(plan.status, StatusCode::OK);
}

#[tokio::test]
async fn a_flow_with_a_known_id_is_changed() {
    let world = World::new().await;
    let id = world.echo_flow().await;
    let mut export = echo_body("renamed");
    export["id"] = json!(id);
    export["description"] = json!("new");
    export["data"] =
        testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
    let answer = upload(&world, export.to_string().as_bytes()).await.json();
    assert_eq!((&answer[0]["id"], &answer[0]["name"]), (&json!(id), &json!("echo")));
    assert_eq!(answer[0]["description"], "new");
    let plan = world.get("/api/flowcell/v1/flows/echo/plan").await.json();
    assert_eq!(plan["cells"].as_array().map(Vec::len), Some(2));
    export["id"] = json!(uuid::Uuid::new_v4());
    let answer = upload(&world, export.to_string().as_bytes()).await.json();
    assert_eq!(answer[0]["id"], export["id"]);
}

#[tokio::test]
async fn everything_wrong_with_a_flow_is_listed() {
    let world = World::new().await;
    let mut data = echo_data();
    data["nodes"][1]["data"]["node"]["outputs"] = json!([]);
    data["edges"][0]["target"] = json!("Gone-zzzzz");
    data["edges"][0]["data"]["targetHandle"]["id"] = json!("Gone-zzzzz");
    let answer = upload(&world, json!({"name": "bad", "data": data}).to_string().as_bytes()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = answer.json();
    assert_eq!(answer["error"]["code"], "flow_invalid");
    let problems = answer["error"]["details"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{answer}");
    assert!(problems[0].as_str().unwrap().contains("Gone-zzzzz"), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("Gone-zzzzz"));
    assert_eq!(world.get("/api/v1/flows/").await.json(), json!([]));
    for (file, status) in [
        (b"".as_slice(), StatusCode::BAD_REQUEST),
        (b"no json", StatusCode::UNPROCESSABLE_ENTITY),
        (b"{\"flows\": []}", StatusCode::UNPROCESSABLE_ENTITY),
        (b"PK\x03\x04 broken", StatusCode::BAD_REQUEST),
        (&archive(&[("a.txt", b"x")]), StatusCode::BAD_REQUEST),
    ] {
        let answer = upload(&world, file).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn an_archive_cannot_explode() {
    let config = Config { archive_bytes_max: 100_000, archive_entries_max: 3, ..Config::default() };
    let world = World::with(config).await;
    let zeros = vec![b' '; 2_000_000];
    let bomb = archive(&[("a.json", &zeros)]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    let answer = upload(&world, &bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body);
    // Spread over entries, it is the sum that counts; and too many entries are too many.
    let part = vec![b' '; 60_000];
    let parts = archive(&[("a.json", &part), ("b.json", &part)]);
    assert_eq!(upload(&world, &parts).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let many = archive(&[("a", b""), ("b", b""), ("c", b""), ("d.json", b"{}")]);
    assert_eq!(upload(&world, &many).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
