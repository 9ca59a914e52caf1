//! The span of a request, and what it has to do with the runs that it starts.
//!
//! A run's trace is its own; the two are linked, both ways.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::HeaderMap;
use domain::id::RunId;
use proto::trace::{run_span, trace_id};
use service::trace::{self, KeyValue, Span, SpanContext, SpanKind, Tracer};
use uuid::Uuid;

tokio::task_local! {
    /// The request that a handler answers.
    static REQUEST: Arc<Request>;
}

/// A request, as far as traces go.
#[derive(Debug)]
pub(crate) struct Request {
    tracer: Tracer,
    began: SystemTime,
    /// What the caller says it is doing.
    caller: Option<SpanContext>,
    /// The request's own span, if it is to be sent.
    own: Option<SpanContext>,
    runs: Mutex<Vec<RunId>>,
}

/// What a span of a request says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) method: &'static str,
    /// The route's template, never the path.
    pub(crate) route: &'a str,
    pub(crate) status: u16,
}

impl Request {
    /// A request that goes on the caller's trace, where the caller has one.
    pub(crate) fn of(tracer: &Tracer, headers: &HeaderMap) -> Arc<Self> {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let caller = given.and_then(trace::parse);
        let (id, (_, span)) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair());
        let own = match &caller {
            Some(caller) if caller.is_sampled() && tracer.is_on() => {
                Some(trace::sampled(u128::from_be_bytes(caller.trace_id().to_bytes()), span))
            }
            Some(_) => None,
            None => tracer.samples(id).then(|| trace::sampled(id, span)),
        };
        let runs = Mutex::default();
        Arc::new(Self { tracer: tracer.clone(), began: SystemTime::now(), caller, own, runs })
    }

    /// Answers it; what is called meanwhile knows which request it belongs to.
    pub(crate) async fn scope<T>(self: Arc<Self>, answering: impl Future<Output = T>) -> T {
        REQUEST.scope(self, answering).await
    }

    /// Sends its span.
    pub(crate) fn answered(&self, answered: Answered<'_>) {
        let Some(own) = self.own.clone() else { return };
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let links = runs.iter().map(|run| trace::sampled(trace_id(*run), run_span(*run)));
        self.tracer.emit(Span {
            parent: self.caller.as_ref().map(SpanContext::span_id),
            kind: SpanKind::Server,
            attributes: vec![
                KeyValue::new("http.request.method", answered.method),
                KeyValue::new("http.route", answered.route.to_owned()),
                KeyValue::new("http.response.status_code", i64::from(answered.status)),
            ],
            links: links.collect(),
            failure: (answered.status >= 500).then_some("internal"),
            ..Span::new("request", own, (self.began, SystemTime::now()))
        });
    }
}

/// What a new run was started by: the caller's own span, or that of the request.
pub(crate) fn cause() -> Option<String> {
    let cause = REQUEST.try_with(|request| request.caller.clone().or_else(|| request.own.clone()));
    trace::traceparent(&cause.ok()??)
}

/// The request that is being answered started this run.
pub(crate) fn started(run: RunId) {
    // Nobody asked when a test calls a use-case by itself.
    let _ = REQUEST.try_with(|request| {
        request.runs.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    });
}
