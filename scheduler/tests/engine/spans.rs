//! The spans of a run, as a collector gets them.

use std::collections::{BTreeMap, BTreeSet};

use domain::failure::{Failure, FailureKind};
use domain::retry::RetryPolicy;
use opentelemetry_proto::tonic::trace::v1::Span;
use proto::message::ReportOutcome;
use proto::trace::{Part, run_span, span_id, trace_id};
use serde_json::json;
use service::trace::Tracer;
use testkit::otlp::Collector;

use super::{Cluster, HOUR};

const CALLER: &str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

/// The spans of one trace, by name and id.
fn of_trace(spans: &[Span], trace: u128) -> Vec<Span> {
    spans.iter().filter(|span| span.trace_id == trace.to_be_bytes()).cloned().collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    format!("{:?}", found.and_then(|found| found.value.clone()).and_then(|value| value.value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_tree_of_spans_in_a_trace_of_its_own() {
    let collector = Collector::start().await.unwrap();
    let url = collector.url();
    let open = move || Tracer::open(&url, "flowcell-test", 1.0).unwrap();
    let tracer = tokio::task::spawn_blocking(open).await.unwrap();
    let mut cluster = Cluster::with(|config| config.tracer = tracer).await;
    cluster.more = json!({"traceparent": CALLER, "input_value": "the caller's secret words"});
    let data = testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;

    let lost = cluster.take().await;
    let failure = Failure::new(FailureKind::StartFailed, "/a/path/of/the/host");
    cluster.report(lost.attempt, ReportOutcome::Failed { failure }).await;
    let again = cluster.take().await;
    assert_eq!((again.attempt.task, again.attempt.attempt), (0, 2));
    cluster.done(&again).await;
    let last = cluster.take().await;
    let named =
        format!("00-{:032x}-{:016x}-01", trace_id(run), span_id(last.attempt, Part::Attempt));
    assert_eq!(last.traceparent, Some(named), "the worker's spans go under the attempt's");
    cluster.done(&last).await;

    let whole = |spans: &[Span]| {
        let spans = of_trace(spans, trace_id(run));
        spans.iter().any(|span| span.name == "run").then_some(spans)
    };
    let spans = collector.until(whole).await;
    let names = spans.iter().fold(BTreeMap::new(), |mut names, span| {
        *names.entry(span.name.as_str()).or_insert(0) += 1;
        names
    });
    assert_eq!(names, BTreeMap::from([("run", 1), ("attempt", 3), ("queue", 3)]));
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    for span in &spans {
        let parent = match span.name.as_str() {
            "run" => Vec::new(),
            "attempt" => run_span(run).to_be_bytes().to_vec(),
            _ => spans
                .iter()
                .find(|parent| {
                    let same = |key| attribute(parent, key) == attribute(span, key);
                    parent.name == "attempt" && same("task.id") && same("attempt")
                })
                .map(|parent| parent.span_id.clone())
                .unwrap(),
        };
        assert_eq!(span.parent_span_id, parent, "{}", span.name);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{}", span.name);
    }
    let root = spans.iter().find(|span| span.name == "run").unwrap();
    assert_eq!(root.span_id, run_span(run).to_be_bytes());
    let caller = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
    assert_eq!(root.links.len(), 1);
    assert_eq!(root.links[0].trace_id, caller.to_be_bytes(), "linked to what the caller did");
    let failed: Vec<_> = spans.iter().filter(|span| span.status.is_some()).collect();
    assert!(failed.iter().any(|span| attribute(span, "failure.kind").contains("start_failed")));
    let all = format!("{spans:?}");
    for content in ["secret words", "made by", "/a/path", "hello"] {
        assert!(!all.contains(content), "{content:?} of a flow or host is in a span: {all}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outside_the_ratio_is_not_traced_anywhere() {
    let open = || Tracer::open("http://127.0.0.1:9", "flowcell-test", 0.0).unwrap();
    let tracer = tokio::task::spawn_blocking(open).await.unwrap();
    let mut cluster = Cluster::with(|config| config.tracer = tracer).await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let only = cluster.take().await;
    assert_eq!(only.traceparent, None);
    cluster.done(&only).await;
    cluster.end().await;
}
