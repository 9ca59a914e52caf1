//! A run's events as Server-Sent Events: `id` is the position, so a client that comes back with
//! `Last-Event-ID` misses nothing and gets nothing twice.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;
use crate::events::{Entry, Events};
use crate::extract::Params;
use crate::metrics::Protocol;
use crate::pump::{self, Gone, HEARTBEAT, Sink};

/// `GET /api/flowcell/v1/runs/{id}/events`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let after = after(&params, &headers)?;
    let events = Events::open(&app, app.tenant(&principal), run_id(&id)?, after).await?;
    let (sink, body) = pump::stream();
    let (stop, open) = (app.stop.clone(), app.metrics.stream(Protocol::Sse));
    tokio::spawn(async move {
        // A client that is gone needs no answer; one that is not comes back after a stop.
        tokio::select! {
            _ = write(events, &sink) => {}
            () = sink.closed() => {}
            () = stop.cancelled() => {}
        }
        drop(open);
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-store, no-transform"),
    ];
    Ok((headers, body).into_response())
}

/// Where to begin: the header, which browsers send when they come back, before the parameter.
pub(super) fn after(params: &Params, headers: &HeaderMap) -> Result<u64, Error> {
    let given = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    match given {
        Some(text) => text.trim().parse().map_err(|_| {
            Error::BodyInvalid("Last-Event-ID must be a position: a whole number".to_owned())
        }),
        None => Ok(params.number("after")?.unwrap_or(0)),
    }
}

async fn write(mut events: Events, sink: &Sink) -> Result<(), Gone> {
    // The client learns at once that it is connected.
    sink.send(": connected\n\n").await?;
    loop {
        match timeout(HEARTBEAT, events.next()).await {
            Ok(Ok(Some(entry))) => sink.send(frame(&entry)).await?,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "a stream of events broke off");
                return Ok(());
            }
            Err(_) => sink.send(": alive\n\n").await?,
        }
    }
}

/// The event's JSON has no line breaks: they are escaped in it.
fn frame(entry: &Entry) -> Vec<u8> {
    let mut frame = format!("id: {}\nevent: {}\ndata: ", entry.position, entry.name()).into_bytes();
    frame.extend_from_slice(&entry.body);
    frame.extend_from_slice(b"\n\n");
    frame
}
