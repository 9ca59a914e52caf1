//! Uploaded files: what Langflow's recorded answers do not show, which is limits and foreigners.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use domain::limits::FileLimits;
use serde_json::{Value, json};

use super::world::{Answer, Caller, World, as_caller};
use crate::Config;

const FILES: &str = "/api/v2/files/";

async fn upload(world: &World, who: &Caller, path: &str, name: &str, bytes: &[u8]) -> Answer {
    let head = format!(
        "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--B--\r\n"].concat();
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("x-api-key", &who.key)
        .header("content-type", "multipart/form-data; boundary=B")
        .body(Body::from(body))
        .unwrap();
    world.send(request).await
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn ask(world: &World, who: &Caller, method: Method, path: &str, body: &Value) -> Answer {
    world.send(as_caller(who, method, path, Body::from(body.to_string()))).await
}

#[tokio::test]
async fn a_file_of_several_pieces_comes_back_whole() {
    let world = World::new().await;
    let bytes = "0123456789".repeat(250_000);
    let file = id(&upload(&world, &world.admin, FILES, "large.txt", bytes.as_bytes()).await);
    let answer = world.get(&format!("{FILES}{file}")).await;
    assert_eq!(answer.headers["content-length"], "2500000");
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert!(answer.body == bytes);
}

#[tokio::test]
async fn limits_are_told_with_what_to_do() {
    let files = FileLimits { file_bytes_max: 1024 * 1024, tenant_bytes_max: 1_500_000 };
    let world = World::with(Config { files, ..Config::default() }).await;
    let full = vec![b'x'; 1024 * 1024];
    let put = async |bytes: &[u8]| upload(&world, &world.admin, FILES, "a.txt", bytes).await;
    let too_large = put(&[&full[..], b"x"].concat()).await;
    insta::assert_snapshot!(too_large.text(), @r#"413 {"detail":"File size is larger than the maximum file size 1MB."}"#);
    let far_too_large = put(&full.repeat(2)).await;
    assert_eq!(far_too_large.text(), too_large.text());
    id(&put(&full).await);
    let no_room = put(&full).await;
    assert_eq!(no_room.status, StatusCode::PAYLOAD_TOO_LARGE);
    insta::assert_snapshot!(no_room.body, @r#"{"detail":"the sum of the tenant's files would be 2097152 bytes large; 1500000 are allowed: delete files, or have api.files.tenant_bytes_max raised","error":{"code":"storage_full","message":"the sum of the tenant's files would be 2097152 bytes large; 1500000 are allowed","action":"delete files, or have api.files.tenant_bytes_max raised"}}"#);
    id(&upload(&world, &world.other, FILES, "a.txt", &full).await);
}

#[tokio::test]
async fn a_foreign_file_does_not_exist() {
    let world = World::new().await;
    let flow = world.echo_flow().await;
    let file = id(&upload(&world, &world.admin, FILES, "mine.txt", b"secret").await);
    let of_flow = format!("/api/v1/files/upload/{flow}");
    let sent = upload(&world, &world.admin, &of_flow, "mine.txt", b"secret").await.json();
    let path = sent["file_path"].as_str().unwrap();
    let one = format!("{FILES}{file}");
    let listed = json!([file]);
    let tries = [
        (Method::GET, one.clone()),
        (Method::GET, format!("{one}?return_content=true")),
        (Method::PUT, format!("{one}?name=yours")),
        (Method::DELETE, one.clone()),
        (Method::POST, format!("{FILES}batch/")),
        (Method::DELETE, format!("{FILES}batch/")),
        (Method::GET, format!("/api/v1/files/download/{path}")),
        (Method::GET, format!("/api/v1/files/images/{path}")),
        (Method::GET, format!("/api/v1/files/list/{flow}")),
        (Method::DELETE, format!("/api/v1/files/delete/{path}")),
    ];
    for (method, path) in tries {
        let answer = ask(&world, &world.other, method.clone(), &path, &listed).await;
        let is_refused = answer.status == StatusCode::NOT_FOUND
            || answer.body.ends_with("404: No files found\"}");
        assert!(
            is_refused && !answer.body.contains("secret"),
            "{method} {path}: {}",
            answer.text()
        );
    }
    let put = upload(&world, &world.other, &of_flow, "mine.txt", b"x").await;
    assert_eq!(put.status, StatusCode::NOT_FOUND);
    let nothing = ask(&world, &world.other, Method::GET, FILES, &json!(null)).await;
    assert_eq!(nothing.json(), json!([]));
    ask(&world, &world.other, Method::DELETE, FILES, &json!(null)).await;
    assert_eq!(world.get(&one).await.body, "secret");
}

#[tokio::test]
async fn an_upload_never_takes_the_place_of_a_renamed_file() {
    let world = World::new().await;
    let first = id(&upload(&world, &world.admin, FILES, "a.txt", b"first").await);
    ask(&world, &world.admin, Method::PUT, &format!("{FILES}{first}?name=b"), &json!(null)).await;
    let second = upload(&world, &world.admin, FILES, "a.txt", b"second").await;
    assert_eq!(second.json()["name"], "a (1)");
    assert_eq!(world.get(&format!("{FILES}{first}")).await.body, "first");
}

#[tokio::test]
async fn uploads_of_one_name_at_once_all_stay() {
    let world = World::new().await;
    let all = (0..8u8).map(|n| {
        let world = &world;
        async move { upload(world, &world.admin, FILES, "a.txt", &[b'0' + n]).await }
    });
    for answer in futures::future::join_all(all).await {
        id(&answer);
    }
    let files = world.get(FILES).await.json();
    let mut seen = Vec::new();
    for file in files.as_array().unwrap() {
        seen.push(world.get(&format!("{FILES}{}", file["id"].as_str().unwrap())).await.body);
    }
    seen.sort();
    assert_eq!(seen.concat(), "01234567");
}
