//! The span of a request, and its links with the runs that it starts.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::id::RunId;
use opentelemetry_proto::tonic::trace::v1::Span;
use proto::trace::{run_span, trace_id};
use serde_json::json;
use service::trace::Tracer;
use testkit::otlp::Collector;

use super::world::World;
use crate::Config;

const CALLER: &str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
const OTHER: &str = "00-fedcba9876543210fedcba9876543210-fedcba9876543210-00";

/// Starts a run, and gives its status and id.
async fn start(world: &World, traceparent: &str) -> (StatusCode, RunId) {
    let body = json!({"flow": "echo", "input_value": "the caller's secret words"});
    let path = "/api/flowcell/v1/runs";
    let mut request = world.request(Method::POST, path, Body::from(body.to_string()));
    let headers = request.headers_mut();
    headers.insert("traceparent", traceparent.parse().unwrap());
    headers.insert("idempotency-key", "once".parse().unwrap());
    let answer = world.send(request).await;
    (answer.status, answer.json()["id"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_its_callers_trace_and_is_linked_to_its_run() {
    let collector = Collector::start().await.unwrap();
    let url = collector.url();
    let open = move || Tracer::open(&url, "flowcell-test", 1.0).unwrap();
    let tracer = tokio::task::spawn_blocking(open).await.unwrap();
    let world = World::with(Config { tracer, ..Config::default() }).await;
    world.echo_flow().await;
    let (status, run) = start(&world, CALLER).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let stored = world.store.tenant(world.admin.tenant).run(run).await.unwrap();
    assert_eq!(stored.request["traceparent"], CALLER);
    // Another span of the caller asks for the same thing: it is the same request.
    assert_eq!(start(&world, OTHER).await, (StatusCode::OK, run));

    let route = "/api/flowcell/v1/runs";
    let find = |spans: &[Span]| {
        let of_route = |span: &&Span| {
            span.name == "request" && format!("{:?}", span.attributes).contains(route)
        };
        spans.iter().find(of_route).cloned()
    };
    let span = collector.until(find).await;
    let caller = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
    assert_eq!(span.trace_id, caller.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    assert_eq!(span.links.len(), 1);
    assert_eq!(span.links[0].trace_id, trace_id(run).to_be_bytes());
    assert_eq!(span.links[0].span_id, run_span(run).to_be_bytes());
    assert!(!format!("{span:?}").contains("secret words"));
}

#[tokio::test]
async fn a_callers_span_is_kept_where_nothing_is_sent() {
    let world = World::new().await;
    world.echo_flow().await;
    let (_, run) = start(&world, CALLER).await;
    let stored = world.store.tenant(world.admin.tenant).run(run).await.unwrap();
    assert_eq!(stored.request["traceparent"], CALLER);
    let run = world.start("echo").await;
    let stored = world.store.tenant(world.admin.tenant).run(run).await.unwrap();
    assert_eq!(stored.request.get("traceparent"), None);
}
