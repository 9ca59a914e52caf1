//! Logs to standard error, traces to an OpenTelemetry collector where one is configured.
//!
//! Nothing leaves the machine by default.

use serde::Deserialize;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
    let lines = lines(settings.format, std::io::stderr, colours);
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(Telemetry { tracer: tracer(settings, name)? })
}

/// Lines of a log. As JSON, the fields of an event stand beside its message, not below it: ids are
/// found by the same name whatever the form.
fn lines<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn ids_stand_at_the_top_level_of_a_json_line() {
        let kept = Kept::default();
        let writer = {
            let kept = kept.clone();
            move || kept.clone()
        };
        let layer = lines(LogFormat::Json, writer, false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(run.id = %"r", task.id = 3, attempt = 1, "attempt was stopped");
        });
        let text = kept.0.lock().unwrap().clone();
        let line: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(line["message"], "attempt was stopped");
        assert_eq!((&line["run.id"], &line["task.id"]), (&"r".into(), &3.into()));
        assert_eq!((&line["attempt"], &line["level"]), (&1.into(), &"WARN".into()));
    }

    #[test]
    fn a_part_of_traces_is_between_none_and_all() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            let settings = Settings { trace_ratio: ratio, ..Settings::default() };
            let error = tracer(&settings, "test").unwrap_err().to_string();
            assert!(error.contains("telemetry.trace_ratio"), "{error}");
        }
        assert!(!tracer(&Settings::default(), "test").unwrap().is_on());
    }
}
