//! The spans that a committed transition ends, from the times that are stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::failure::Failure;
use domain::id::RunId;
use domain::run::{Event, RunState};
use domain::time::Timestamp;
use proto::message::AttemptRef;
use proto::run::RunRequest;
use proto::trace::{Part, run_span, span_id, trace_id};
use service::trace::{self, KeyValue, Span, SpanContext, SpanId, Tracer};
use store::RunRecord;

/// The attempt's span for the worker that got it, if the run is traced.
pub(crate) fn traceparent(tracer: &Tracer, attempt: AttemptRef) -> Option<String> {
    let trace = trace_id(attempt.run);
    let span = trace::sampled(trace, span_id(attempt, Part::Attempt));
    tracer.samples(trace).then(|| trace::traceparent(&span)).flatten()
}

/// Sends what ended with these events: the wait for a worker, attempts, the run.
pub(crate) fn emit(tracer: &Tracer, record: &RunRecord, events: &[Event], at: Timestamp) {
    if !tracer.samples(trace_id(record.run.id)) {
        return;
    }
    let run = Ended { record, at };
    for event in events {
        let span = match event {
            Event::TaskLeased { task, attempt, at, .. } => Some(run.queue(*task, *attempt, *at)),
            Event::TaskDone { task, .. } => run.attempt(*task, "done", None),
            Event::TaskPaused { task, .. } => run.attempt(*task, "paused", None),
            Event::AttemptFailed { task, failure, .. } => {
                run.attempt(*task, "failed", Some(failure))
            }
            Event::TaskCancelled { task } => run.attempt(*task, "cancelled", None),
            Event::RunCompleted => Some(run.whole(RunState::Completed, None)),
            Event::RunFailed { failure } => Some(run.whole(RunState::Failed, Some(failure))),
            Event::RunCancelled => Some(run.whole(RunState::Cancelled, None)),
            Event::RunTimedOut => Some(run.whole(RunState::TimedOut, None)),
            Event::RunStarted
            | Event::RunSuspended { .. }
            | Event::RunResumed { .. }
            | Event::RunPaused { .. }
            | Event::RunUnpaused { .. }
            | Event::TaskHeld { .. }
            | Event::Replanned { .. }
            | Event::TaskReady { .. }
            | Event::TaskDispatched { .. }
            | Event::TaskRunning { .. }
            | Event::TaskFailed { .. }
            | Event::TaskSkipped { .. } => None,
        };
        if let Some(span) = span {
            tracer.emit(span);
        }
    }
}

/// A run before the transition, and when that was.
struct Ended<'a> {
    record: &'a RunRecord,
    at: Timestamp,
}

impl Ended<'_> {
    fn id(&self) -> RunId {
        self.record.run.id
    }

    /// The wait of an attempt for a worker.
    fn queue(&self, task: u32, attempt: u32, leased: Timestamp) -> Span {
        let of = AttemptRef { run: self.id(), task, attempt };
        let ready = self.ready_since(task).unwrap_or(leased);
        Span {
            parent: Some(SpanId::from(span_id(of, Part::Attempt))),
            attributes: self.names(of),
            ..Span::new("queue", context(of, Part::Queue), times(ready, leased))
        }
    }

    /// An attempt that a worker held. What was refused before any worker took it leaves none.
    fn attempt(&self, task: u32, outcome: &'static str, failure: Option<&Failure>) -> Option<Span> {
        let held = self.record.run.task(task)?;
        let since = self.ready_since(task).unwrap_or(held.lease?.since);
        held.lease?;
        let of = AttemptRef { run: self.id(), task, attempt: held.attempt };
        let mut attributes = self.names(of);
        attributes.push(KeyValue::new("outcome", outcome));
        Some(Span {
            parent: Some(SpanId::from(run_span(self.id()))),
            attributes: with_failure(attributes, failure),
            failure: failure.map(|failure| failure.kind.code()),
            ..Span::new("attempt", context(of, Part::Attempt), times(since, self.at))
        })
    }

    fn whole(&self, state: RunState, failure: Option<&Failure>) -> Span {
        let attributes = vec![
            KeyValue::new("run.id", self.id().to_string()),
            KeyValue::new("run.state", state.name()),
            KeyValue::new("flow.id", self.record.flow.to_string()),
            KeyValue::new("flow.name", self.record.flow_name.clone()),
        ];
        let own = trace::sampled(trace_id(self.id()), run_span(self.id()));
        Span {
            attributes: with_failure(attributes, failure),
            links: self.causes(),
            failure: failure.map(|failure| failure.kind.code()),
            ..Span::new("run", own, times(self.record.created, self.at))
        }
    }

    /// What led to the run: the request of a caller, or the cell that ran a flow.
    fn causes(&self) -> Vec<SpanContext> {
        let request: Option<RunRequest> = serde_json::from_value(self.record.request.clone()).ok();
        let caller = request.and_then(|request| trace::parse(request.traceparent.as_deref()?));
        let parent = self.record.parent.map(|parent| context(parent, Part::Cell));
        caller.into_iter().chain(parent).collect()
    }

    fn names(&self, of: AttemptRef) -> Vec<KeyValue> {
        let cell = usize::try_from(of.task).ok().and_then(|task| self.record.cells.get(task));
        vec![
            KeyValue::new("run.id", of.run.to_string()),
            KeyValue::new("task.id", i64::from(of.task)),
            KeyValue::new("attempt", i64::from(of.attempt)),
            KeyValue::new("cell.id", cell.cloned().unwrap_or_default()),
        ]
    }

    fn ready_since(&self, task: u32) -> Option<Timestamp> {
        let task = usize::try_from(task).ok()?;
        self.record.ready_since.get(task).copied().flatten()
    }
}

fn context(of: AttemptRef, part: Part) -> SpanContext {
    trace::sampled(trace_id(of.run), span_id(of, part))
}

fn with_failure(mut attributes: Vec<KeyValue>, failure: Option<&Failure>) -> Vec<KeyValue> {
    attributes.extend(failure.map(|failure| KeyValue::new("failure.kind", failure.kind.code())));
    attributes
}

fn times(start: Timestamp, end: Timestamp) -> (SystemTime, SystemTime) {
    let time = |at: Timestamp| {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(at.millis()).unwrap_or_default())
    };
    (time(start), time(end))
}
