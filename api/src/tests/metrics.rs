//! What the operator sees of the API's work.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::world::World;

/// The value of a sample, as it stands in the text.
fn sample(world: &World, name: &str) -> Option<String> {
    let mut registry = Registry::default();
    world.api.expose(&mut registry);
    let text = service::metrics::text(&registry).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_what_a_caller_chose() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    world.get(&format!("/api/flowcell/v1/runs/{run}")).await;
    world.get("/api/flowcell/v1/runs/no-such-run").await;
    let odd = Request::builder().method("SECRET").uri("/api/v1/secret").body(Body::empty());
    world.send(odd.unwrap()).await;

    let of = |method: &str, route: &str, status: &str| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        sample(&world, &format!("flowcell_http_requests_total{{{labels}}}"))
    };
    let route = "/api/flowcell/v1/runs/{id}";
    assert_eq!(of("GET", route, "2xx").as_deref(), Some("1"));
    assert_eq!(of("GET", route, "4xx").as_deref(), Some("1"));
    assert_eq!(of("other", "unmatched", "4xx").as_deref(), Some("1"));
    let count = format!("flowcell_http_request_seconds_count{{method=\"GET\",route=\"{route}\"}}");
    assert_eq!(sample(&world, &count).as_deref(), Some("2"));
    assert_eq!(sample(&world, "flowcell_runs_accepted_total").as_deref(), Some("1"));
    assert_eq!(sample(&world, "flowcell_http_requests_in_flight").as_deref(), Some("0"));
}

#[tokio::test]
async fn bodies_are_counted_and_keep_their_length() {
    let world = World::new().await;
    let bytes = |name: &str| -> usize { sample(&world, name).unwrap().parse().unwrap() };
    let (sent, received) =
        ("flowcell_http_response_bytes_total", "flowcell_http_request_bytes_total");
    let before = bytes(sent);
    let answer = world.get("/api/flowcell/v1/me").await;
    assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
    assert_eq!(bytes(sent), before + answer.body.len());
    let before = bytes(received);
    let body = json!({"flow": "none"}).to_string();
    let request = world.request(Method::POST, "/api/flowcell/v1/runs", Body::from(body.clone()));
    assert_eq!(world.send(request).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bytes(received), before + body.len());
}

#[tokio::test]
async fn a_stream_is_open_until_its_reader_goes() {
    let world = World::new().await;
    world.echo_flow().await;
    let run = world.start("echo").await;
    let path = format!("/api/flowcell/v1/runs/{run}/events");
    let response = world.respond(world.request(Method::GET, &path, Body::empty())).await;
    let open = "flowcell_event_streams{protocol=\"sse\"}";
    assert_eq!(sample(&world, open).as_deref(), Some("1"));
    drop(response);
    while sample(&world, open).as_deref() != Some("0") {
        tokio::task::yield_now().await;
    }
}
