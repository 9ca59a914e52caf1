//! What the API counts of its own work.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::metrics::{Durations, durations};

/// The figures of one API. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Durations<Asked>,
    in_flight: Gauge,
    received: Counter,
    sent: Counter,
    streams: Family<Stream, Gauge>,
    accepted: Counter,
}

/// What was asked. Templates of routes and known methods only: a caller chooses the rest.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stream {
    protocol: &'static str,
}

/// How events reach who follows a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// Our Server-Sent Events.
    Sse,
    /// Our WebSocket.
    WebSocket,
    /// Langflow's stream of a run.
    Langflow,
}

/// Counts something as there until it is dropped.
#[derive(Debug)]
pub(crate) struct Present(Gauge);

impl Present {
    fn of(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: durations(),
            in_flight: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            streams: Family::default(),
            accepted: Counter::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn expose(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        add("flowcell_runs_accepted", "Runs that were accepted and stored", &self.accepted);
        add("flowcell_http_request_bytes", "Bytes of request bodies", &self.received);
        add("flowcell_http_response_bytes", "Bytes of answers, streams included", &self.sent);
        let help = "Requests that were answered";
        registry.register("flowcell_http_requests", help, self.requests.clone());
        let help = "Time to an answer's head; a stream goes on after it";
        registry.register("flowcell_http_request_seconds", help, self.durations.clone());
        let help = "Requests whose answer has not begun";
        registry.register("flowcell_http_requests_in_flight", help, self.in_flight.clone());
        for protocol in [Protocol::Sse, Protocol::WebSocket, Protocol::Langflow] {
            // Zero from the beginning, not with the first stream.
            drop(self.stream(protocol));
        }
        let help = "Open streams of events";
        registry.register("flowcell_event_streams", help, self.streams.clone());
    }

    /// A request has come; it is in flight until this is dropped.
    pub(crate) fn asked(&self) -> Present {
        Present::of(self.in_flight.clone())
    }

    pub(crate) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let (method, route) = (name(method), route.to_owned());
        let asked = Asked { method, route: route.clone() };
        self.durations.get_or_create(&asked).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status: class(status) }).inc();
    }

    /// A stream of events is open until this is dropped.
    pub(crate) fn stream(&self, protocol: Protocol) -> Present {
        let protocol = match protocol {
            Protocol::Sse => "sse",
            Protocol::WebSocket => "websocket",
            Protocol::Langflow => "langflow",
        };
        Present::of(self.streams.get_or_create_owned(&Stream { protocol }))
    }

    pub(crate) fn accepted(&self) {
        self.accepted.inc();
    }

    /// Bytes that left by another way than an answer's body.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn count_received(&self, body: Body) -> Body {
        counted(body, self.received.clone())
    }

    pub(crate) fn count_sent(&self, body: Body) -> Body {
        counted(body, self.sent.clone())
    }
}

pub(crate) fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// A body without content has nothing to count, and stays as it is.
fn counted(body: Body, counter: Counter) -> Body {
    if body.is_end_stream() { body } else { Body::new(Counted { body, counter }) }
}

/// A body whose bytes are counted as they pass. Its length, where known, stays known.
struct Counted {
    body: Body,
    counter: Counter,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.counter.inc_by(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
