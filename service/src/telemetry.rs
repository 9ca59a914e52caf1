//! Logs to standard error, traces to an OpenTelemetry collector where one is configured.
//!
//! Nothing leaves the machine by default.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

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
}

impl Default for Settings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text, otlp: None }
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
    /// Something else has already set up telemetry in this process.
    #[error("telemetry is already set up: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter alive; traces that are still buffered are sent when it is dropped.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
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
    let provider = settings.otlp.as_deref().map(|address| exporter(address, name)).transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(name)));
    tracing_subscriber::registry().with(filter).with(lines).with(spans).try_init()?;
    Ok(Telemetry { provider })
}

fn exporter(address: &str, name: &'static str) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", address.trim_end_matches('/')))
        .build()
        .map_err(|source| Error::Exporter { address: address.to_owned(), source })?;
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(error = %error, "traces that were still buffered are lost");
        }
    }
}
