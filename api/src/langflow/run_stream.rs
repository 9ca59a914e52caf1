//! A run as Langflow streams it: bare JSON and an empty line for each event, no `data:`.
//!
//! ```text
//! run's log:  run.started  task.*  langflow(add_message, token, …)   run.completed | run.failed
//! stream:                          the event, exactly as emitted     end           | error
//! ```

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use domain::id::RunId;
use proto::event::RunEventKind;
use serde_json::{Value, json};
use store::Tenant;

use super::run::{Leaving, Outcome, outcome, outdated, settled};
use crate::app::App;
use crate::error::{Error, exception_body};
use crate::events::{Entry, Events};
use crate::metrics::Protocol;
use crate::pump::{self, Gone, Sink};
use crate::python;
use crate::result;

/// The stream's content type, Langflow's.
pub(super) const CONTENT: &str = "text/event-stream; charset=utf-8";

const DEADLINE: &str = "Error running graph: the run was ended at its deadline";

/// Events of components that `/run` of Langflow lets through: what lfx 1.13 registers in
/// `create_stream_tokens_event_manager`. The others (`remove_message`, `vertices_sorted`) belong to
/// its editor. `end` is registered there for the endpoint's own last event; no component of
/// Langflow sends one, and here none can end the stream before the run has ended.
const PASSED: [&str; 7] =
    ["add_message", "token", "end_vertex", "error", "build_start", "build_end", "log"];

/// Streams a run.
pub(super) async fn follow(
    app: &App,
    tenant: Tenant,
    run: RunId,
    leaving: Leaving,
) -> Result<Response, Error> {
    let guard = leaving.guard(app, run);
    let events = Events::open(app, tenant.clone(), run, 0).await?;
    let (sink, body) = pump::stream();
    let app = app.clone();
    tokio::spawn(async move {
        let mut guard = guard;
        let _open = app.metrics.stream(Protocol::Langflow);
        let stop = app.stop.clone();
        let ended = tokio::select! {
            ended = write(&app, &tenant, run, events, &sink) => ended,
            () = sink.closed() => Err(Gone),
            // The run goes on: the process ends, not the caller's wish.
            () = stop.cancelled() => Ok(()),
        };
        if ended.is_ok() {
            guard.release();
        }
    });
    Ok(([(CONTENT_TYPE, CONTENT)], body).into_response())
}

/// An event as it stands in the stream.
pub(super) fn event_text(event: &Value) -> String {
    let mut text = python::dumps(event);
    text.push_str("\n\n");
    text
}

async fn write(
    app: &App,
    tenant: &Tenant,
    run: RunId,
    mut events: Events,
    sink: &Sink,
) -> Result<(), Gone> {
    let broken = loop {
        match events.next().await {
            Ok(Some(entry)) if entry.is_terminal() => break None,
            Ok(Some(entry)) => {
                if let Some(event) = passed(&entry) {
                    sink.send(event_text(&event)).await?;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let last = match broken {
        Some(error) => Err(error),
        None => last(app, tenant, run).await,
    };
    let event = last.unwrap_or_else(|error| {
        // The answer has begun, so the error can only be its last event.
        tracing::error!(run.id = %run, error = %error, "a stream could not be finished");
        failed("500: the stream could not be finished; the run goes on")
    });
    sink.send(event_text(&event)).await
}

fn passed(entry: &Entry) -> Option<Value> {
    match entry.event()? {
        RunEventKind::Langflow { event, data, .. } if PASSED.contains(&&*event) => {
            Some(json!({"event": event, "data": data}))
        }
        _ => None,
    }
}

async fn last(app: &App, tenant: &Tenant, run: RunId) -> Result<Value, Error> {
    let header = settled(tenant, run).await?;
    Ok(match outcome(&header) {
        Outcome::Completed => {
            let result = result::response(app, tenant, run).await?;
            json!({"event": "end", "data": {"result": result}})
        }
        Outcome::Failed { message } => {
            let outdated = outdated(app, tenant, &header).await;
            failed(&format!("500: {}", exception_body(&message, &outdated)))
        }
        Outcome::NotBuilt { message } => failed(&message),
        Outcome::TimedOut => {
            let message = exception_body(DEADLINE, &[]);
            failed(&format!("504: {message}"))
        }
    })
}

fn failed(text: &str) -> Value {
    json!({"event": "error", "data": {"error": text}})
}
