//! The spans of one attempt that only its worker sees. Their ids and parents are agreed upon
//! (`proto::trace`).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::failure::Failure;
use proto::connection::{Connection, ConnectionLog, ConnectionState};
use proto::message::{Assignment, AttemptRef, ReportOutcome};
use proto::trace::{Part, span_id, trace_id};
use service::trace::{self, KeyValue, Span, SpanContext, SpanId, SpanKind, Tracer};

/// Sends the spans of an attempt, if its scheduler traces the run.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    tracer: Tracer,
    attempt: AttemptRef,
    /// The attempt's span.
    parent: Option<SpanContext>,
    cell: String,
    /// Hosts that a rule names. Other names of hosts are the component's own words.
    hosts: BTreeSet<String>,
}

impl Trace {
    pub(crate) fn of(tracer: &Tracer, assignment: &Assignment) -> Self {
        let parent = assignment.traceparent.as_deref().and_then(trace::parse);
        let hosts = assignment.egress.iter().map(|rule| rule.host.to_ascii_lowercase());
        Self {
            tracer: tracer.clone(),
            attempt: assignment.attempt,
            parent: parent.filter(|span| tracer.is_on() && span.is_sampled()),
            cell: assignment.task.cell.clone(),
            hosts: hosts.collect(),
        }
    }

    /// From the claim to a container having the task, or to there being none.
    pub(crate) fn picked_up(&self, since: SystemTime, failure: Option<&Failure>) {
        self.emit(Part::PickUp, "pick_up", since, failure, Vec::new());
    }

    /// From then to the last frame; no outcome when the attempt was told to stop.
    pub(crate) fn ran(&self, since: SystemTime, outcome: Option<&ReportOutcome>) {
        let (outcome, failure) = match outcome {
            None => ("stopped", None),
            Some(ReportOutcome::Done { .. }) => ("done", None),
            Some(ReportOutcome::Failed { failure }) => ("failed", Some(failure)),
        };
        self.emit(Part::Cell, "cell", since, failure, vec![KeyValue::new("outcome", outcome)]);
    }

    /// From the attempt's end until a scheduler had heard of it.
    pub(crate) fn reported(&self, since: SystemTime) {
        self.emit(Part::Report, "report", since, None, Vec::new());
    }

    /// What the cell connected to.
    pub(crate) fn connected(&self, log: &ConnectionLog) {
        if self.parent.is_none() {
            return;
        }
        for (place, entry) in (0..).zip(&log.entries) {
            let begun = u64::try_from(entry.at.millis()).unwrap_or_default();
            let start = UNIX_EPOCH + Duration::from_millis(begun);
            let end = start + Duration::from_millis(entry.duration_ms.unwrap_or_default());
            let end = if entry.duration_ms.is_some() { end } else { SystemTime::now() };
            let own = self.context(Part::Connection(place));
            self.tracer.emit(Span {
                parent: Some(SpanId::from(span_id(self.attempt, Part::Cell))),
                kind: SpanKind::Client,
                attributes: self.connection(entry),
                failure: refusal(entry.state),
                ..Span::new("connection", own, (start, end))
            });
        }
    }

    fn connection(&self, entry: &Connection) -> Vec<KeyValue> {
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("server.port", i64::from(entry.port)),
            KeyValue::new("connection.state", entry.state.name()),
            KeyValue::new("connection.bytes_up", bytes(entry.bytes_up)),
            KeyValue::new("connection.bytes_down", bytes(entry.bytes_down)),
        ];
        if self.hosts.contains(&entry.host) {
            attributes.push(KeyValue::new("server.address", entry.host.clone()));
        }
        attributes
    }

    fn emit(
        &self,
        part: Part,
        name: &'static str,
        since: SystemTime,
        failure: Option<&Failure>,
        mut attributes: Vec<KeyValue>,
    ) {
        let Some(attempt) = &self.parent else { return };
        attributes.extend([
            KeyValue::new("run.id", self.attempt.run.to_string()),
            KeyValue::new("task.id", i64::from(self.attempt.task)),
            KeyValue::new("attempt", i64::from(self.attempt.attempt)),
            KeyValue::new("cell.id", self.cell.clone()),
        ]);
        let failure = failure.map(|failure| failure.kind.code());
        attributes.extend(failure.map(|kind| KeyValue::new("failure.kind", kind)));
        let times = (since, SystemTime::now());
        self.tracer.emit(Span {
            parent: Some(attempt.span_id()),
            attributes,
            failure,
            ..Span::new(name, self.context(part), times)
        });
    }

    fn context(&self, part: Part) -> SpanContext {
        trace::sampled(trace_id(self.attempt.run), span_id(self.attempt, part))
    }
}

/// Why a connection did not do what was asked, if so.
fn refusal(state: ConnectionState) -> Option<&'static str> {
    match state {
        ConnectionState::Open | ConnectionState::Closed => None,
        ConnectionState::Cut => Some("cut"),
        ConnectionState::Refused => Some("refused"),
        ConnectionState::Failed => Some("failed"),
    }
}
