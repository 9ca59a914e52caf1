//! Logs to standard error, traces to an OpenTelemetry collector where one is configured.
//!
//! Nothing leaves the machine by default.

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::trace::Tracer;

/// How a process tells what it does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is logged, in `tracing`'s filter language.
    pub filter: String,
    /// The form of log lines.
    pub format: LogFormat,
    /// Base address of an OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`; none: no traces.
    pub otlp: Option<String>,
    /// The part of all runs, and of requests beside them, whose traces are sent: 0 to 1. The same
    /// for every process, or traces have holes.
    pub trace_ratio: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text, otlp: None, trace_ratio: 1.0 }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("log filter {filter:?} is invalid: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter could not be made.
    #[error("trace exporter for {address}: {source}")]
    Exporter {
        /// The collector's address.
        address: String,
        /// What is wrong.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The part of traces is none.
    #[error("telemetry.trace_ratio is {0}: give a number from 0 (no traces) to 1 (all of them)")]
    Ratio(f64),
    /// Something else has already set up telemetry in this process.
    #[error("telemetry is already set up: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter alive; traces that are still buffered are sent when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Telemetry {
    tracer: Tracer,
}

impl Telemetry {
    /// The way out for spans; clones share it.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }
}

/// Sets up logs and traces of this process; `name` is its service name.
///
/// # Errors
/// [`Error`] when the filter or the collector's address is invalid, or on a second call.
pub fn init(settings: &Settings, name: &'static str) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|source| Error::Filter { filter: settings.filter.clone(), source })?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let lines = match settings.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Telemetry { tracer: tracer(settings, name)? })
}

fn tracer(settings: &Settings, name: &'static str) -> Result<Tracer, Error> {
    let ratio = settings.trace_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(Error::Ratio(ratio));
    }
    let Some(address) = &settings.otlp else { return Ok(Tracer::default()) };
    Tracer::open(address, name, ratio)
        .map_err(|source| Error::Exporter { address: address.clone(), source })
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.tracer.shut_down();
    }
}
