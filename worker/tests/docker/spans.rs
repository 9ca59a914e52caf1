//! The spans that a worker adds to the trace of a run.

use opentelemetry_proto::tonic::trace::v1::Span;
use proto::message::EgressRule;
use proto::trace::{Part, span_id, trace_id};
use service::trace::{Tracer, sampled, traceparent};
use testkit::otlp::Collector;

use crate::cluster::{CANARY, Cluster};
use crate::skip;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_does_is_under_its_span_and_its_connections_under_the_cell() {
    if skip() {
        return;
    }
    let collector = Collector::start().await.unwrap();
    let url = collector.url();
    let open = move || Tracer::open(&url, "flowcell-test", 1.0).unwrap();
    let tracer = tokio::task::spawn_blocking(open).await.unwrap();
    let cluster = Cluster::with(|config| config.tracer = tracer).await;
    // Nobody listens there, and no rule names the other host.
    let rule = EgressRule { host: "127.0.0.1".into(), port: 9, private: true, tcp: false };
    let mut assignment = cluster
        .assignment("egress", "GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n");
    assignment.egress = vec![rule];
    let attempt = assignment.attempt;
    let trace = trace_id(attempt.run);
    let parent = span_id(attempt, Part::Attempt);
    assignment.traceparent = traceparent(&sampled(trace, parent));
    cluster.run(assignment).await;

    let reported =
        |spans: &[Span]| spans.iter().any(|span| span.name == "report").then(|| spans.to_vec());
    let spans = collector.until(reported).await;
    assert!(spans.iter().all(|span| span.trace_id == trace.to_be_bytes()));
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    for (name, part) in [("pick_up", Part::PickUp), ("cell", Part::Cell), ("report", Part::Report)]
    {
        assert_eq!(of(name).span_id, span_id(attempt, part).to_be_bytes(), "{name}");
        assert_eq!(of(name).parent_span_id, parent.to_be_bytes(), "{name}");
    }
    let connection = of("connection");
    assert_eq!(connection.parent_span_id, span_id(attempt, Part::Cell).to_be_bytes());
    let order = [of("pick_up"), of("cell"), of("report")].map(|span| span.start_time_unix_nano);
    assert!(order.is_sorted(), "{order:?}");
    let all = format!("{spans:?}");
    assert!(!all.contains(CANARY) && !all.contains("sk-canary"), "{all}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_run_is_not_traced_sends_nothing() {
    if skip() {
        return;
    }
    let collector = Collector::start().await.unwrap();
    let url = collector.url();
    let open = move || Tracer::open(&url, "flowcell-test", 1.0).unwrap();
    let tracer = tokio::task::spawn_blocking(open).await.unwrap();
    let cluster = Cluster::with(|config| config.tracer = tracer).await;
    cluster.text("events:1", "silent").await;
    let mut traced = cluster.assignment("events:1", "traced");
    let attempt = traced.attempt;
    let parent = sampled(trace_id(attempt.run), span_id(attempt, Part::Attempt));
    traced.traceparent = traceparent(&parent);
    cluster.run(traced).await;
    // The later one's spans are there, so the earlier one's would be.
    let reported =
        |spans: &[Span]| spans.iter().any(|span| span.name == "report").then(|| spans.to_vec());
    let spans = collector.until(reported).await;
    let trace = trace_id(attempt.run).to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == trace), "{spans:?}");
    cluster.stop().await;
}
