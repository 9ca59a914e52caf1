//! Spans of things that are over, sent to an OpenTelemetry collector.
//!
//! A span is handed over whole, with ids that its maker chose. A run outlives processes, so its
//! spans cannot be opened in one and closed in another; their ids are made from what the spans
//! are about, and any process can name a parent that another one sends. What a span says is a list
//! of names and numbers that the maker wrote down: nothing is taken from log lines, whose text may
//! come from a flow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Link, Status, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceId};

/// How long a process that ends waits for a collector.
const END_WAIT: Duration = Duration::from_secs(5);

/// Bits of a trace id that are random in every version of UUID that names a run.
const RANDOM_BITS: u32 = 62;

/// Sends spans. Clones share the way out; one that was not set up sends nothing.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
}

/// Two are the same if they send the same way.
impl PartialEq for Tracer {
    fn eq(&self, other: &Self) -> bool {
        match (&self.inner, &other.inner) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

#[derive(Debug)]
struct Inner {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    ratio: f64,
}

/// Something that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its own ids.
    pub context: SpanContext,
    /// The span it belongs under.
    pub parent: Option<SpanId>,
    /// What it is; one of a few names.
    pub name: &'static str,
    /// Its part in a conversation.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What is known of it: names, states and numbers, never what a flow was given or made.
    pub attributes: Vec<KeyValue>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<SpanContext>,
    /// The kind of failure, if it failed.
    pub failure: Option<&'static str>,
}

impl Tracer {
    /// Sends to the collector at `address` this part of all traces, from 0 to 1.
    ///
    /// # Errors
    /// When the address is none.
    pub fn open(address: &str, name: &'static str, ratio: f64) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", address.trim_end_matches('/')))
            .build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&Resource::builder().with_service_name(name).build());
        let scope = InstrumentationScope::builder("flowcell")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(Self { inner: Some(Arc::new(Inner { processor, scope, ratio })) })
    }

    /// Whether spans of this trace are to be sent. Every process with the same ratio says the
    /// same, so that a trace is whole or not there.
    #[must_use]
    pub fn samples(&self, trace: u128) -> bool {
        self.inner.as_ref().is_some_and(|inner| is_within(trace, inner.ratio))
    }

    /// Whether anything is sent at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Sends a span soon, with others. A collector that does not keep up loses spans, and holds
    /// up nobody.
    pub fn emit(&self, span: Span) {
        if let Some(inner) = &self.inner {
            inner.processor.on_end(span.data(inner.scope.clone()));
        }
    }

    /// Sends what is left; later spans are lost.
    pub(crate) fn shut_down(&self) {
        if let Some(inner) = &self.inner
            && let Err(error) = inner.processor.shutdown_with_timeout(END_WAIT)
        {
            tracing::warn!(error = %error, "spans that were not sent yet are lost");
        }
    }
}

impl Span {
    /// An inner span of a trace, without attributes.
    #[must_use]
    pub fn new(name: &'static str, context: SpanContext, times: (SystemTime, SystemTime)) -> Self {
        let (start, end) = times;
        Self {
            context,
            parent: None,
            name,
            kind: SpanKind::Internal,
            start,
            // Clocks of two hosts may disagree by more than a short span lasts.
            end: end.max(start),
            attributes: Vec::new(),
            links: Vec::new(),
            failure: None,
        }
    }

    fn data(self, instrumentation_scope: InstrumentationScope) -> SpanData {
        let mut links = SpanLinks::default();
        links.links = self.links.into_iter().map(Link::with_context).collect();
        SpanData {
            span_context: self.context,
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent.is_some(),
            span_kind: self.kind,
            name: self.name.into(),
            start_time: self.start,
            end_time: self.end,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: self.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope,
        }
    }
}

/// A sampled span of a trace.
#[must_use]
pub fn sampled(trace: u128, span: u64) -> SpanContext {
    let (trace, span) = (TraceId::from(trace), SpanId::from(span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
}

/// What a `traceparent` header names, if it is one.
#[must_use]
pub fn parse(traceparent: &str) -> Option<SpanContext> {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The `traceparent` header that names a span.
#[must_use]
pub fn traceparent(span: &SpanContext) -> Option<String> {
    let mut headers = HashMap::new();
    let context = Context::new().with_remote_span_context(span.clone());
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    headers.remove("traceparent")
}

/// The first bits of a run's id are a time; only the last ones are evenly spread.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a share of all traces needs no more precision, and of the id only the low half"
)]
fn is_within(trace: u128, ratio: f64) -> bool {
    let span = 1_u64 << RANDOM_BITS;
    let place = (trace as u64) % span;
    (place as f64) < ratio * (span as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
        let span = parse(text).unwrap();
        assert_eq!(traceparent(&span).as_deref(), Some(text));
        let own = sampled(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef);
        assert_eq!(traceparent(&own).as_deref(), Some(text));
        let zeros = "00-00000000000000000000000000000000-0123456789abcdef-01";
        for wrong in ["", "00", "x", zeros, "00-0123456789abcdef0123456789abcdef-01"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_ratio_is_a_share_of_runs_whose_ids_begin_alike() {
        // As in UUIDs of version 7: the same time, version and variant, then random bits.
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (0x0190_0000_0000_7000_u128 << 64) | u128::from((seed >> 2) | (0b10 << 62))
        };
        let ids: Vec<u128> = (0..10_000).map(|_| next()).collect();
        let share = |ratio| ids.iter().filter(|id| is_within(**id, ratio)).count();
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((2_200..2_800).contains(&share(0.25)), "{}", share(0.25));
        assert!(ids.iter().all(|id| !is_within(*id, 0.25) || is_within(*id, 0.5)), "nested");
    }

    #[test]
    fn nothing_is_sent_unless_it_is_set_up() {
        let off = Tracer::default();
        assert!(!off.is_on() && !off.samples(1));
        let now = SystemTime::now();
        off.emit(Span::new("run", sampled(1, 1), (now, now)));
    }
}
