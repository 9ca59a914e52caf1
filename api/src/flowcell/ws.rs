//! A run's events over a WebSocket: text frames `{"seq": n, "event": {…}}`.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, interval_at, timeout};

use super::runs::run_id;
use crate::app::App;
use crate::auth::Principal;
use crate::error::Error;
use crate::events::{Entry, Events};
use crate::extract::Params;
use crate::metrics::Protocol;
use crate::pump::{Gone, HEARTBEAT, SLOW};

/// Largest frame that a client may send; nothing that it sends means anything.
const INCOMING_BYTES_MAX: usize = 4096;

/// How long a client may take to answer the close.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Frame<'e> {
    seq: u64,
    event: &'e RawValue,
}

/// `GET /api/flowcell/v1/runs/{id}/ws`.
pub(crate) async fn get(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let after = params.number("after")?.unwrap_or(0);
    // Whose run it is comes first: what follows may not tell that it exists.
    let events = Events::open(&app, app.tenant(&principal), run_id(&id)?, after).await?;
    let upgrade = upgrade.map_err(|_| {
        Error::BodyInvalid("this path speaks WebSocket: send an upgrade".to_owned())
    })?;
    // The buffer is there for as long as the connection: by default it is 128 KiB.
    let upgrade = upgrade.max_message_size(INCOMING_BYTES_MAX).read_buffer_size(INCOMING_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let _open = app.metrics.stream(Protocol::WebSocket);
        let close = follow(&app, events, &mut socket).await;
        if let Ok((code, reason)) = close {
            let frame = CloseFrame { code, reason: reason.into() };
            if send(&mut socket, Message::Close(Some(frame))).await.is_ok() {
                goodbye(&mut socket).await;
            }
        }
    }))
}

/// Reads until the client has closed too. Closing a connection on which something unread waits (a
/// pong, say) resets it, and a reset takes with it what the client has not read yet.
async fn goodbye(socket: &mut WebSocket) {
    let closed = async { while let Some(Ok(_)) = socket.recv().await {} };
    // A client that never answers is left after a while; it has had its events.
    let _ = timeout(GOODBYE_WAIT, closed).await;
}

async fn follow(
    app: &App,
    mut events: Events,
    socket: &mut WebSocket,
) -> Result<(u16, &'static str), Gone> {
    let mut heard = Instant::now();
    let mut ping = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Ok(Some(entry)) => {
                    let Some(text) = text(&entry) else { continue };
                    app.metrics.sent(text.len());
                    send(socket, Message::text(text)).await?;
                }
                Ok(None) => return Ok((close_code::NORMAL, "the run has ended")),
                Err(error) => {
                    tracing::warn!(error = %error, "a stream of events broke off");
                    return Ok((close_code::AGAIN, "come back with ?after="));
                }
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return Err(Gone),
                Some(Ok(_)) => heard = Instant::now(),
            },
            _ = ping.tick() => {
                if heard.elapsed() > 2 * HEARTBEAT + SLOW {
                    return Err(Gone);
                }
                send(socket, Message::Ping(axum::body::Bytes::new())).await?;
            }
            () = app.stop.cancelled() => return Ok((close_code::RESTART, "come back with ?after=")),
        }
    }
}

/// A client that does not read is dropped.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(SLOW, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

fn text(entry: &Entry) -> Option<String> {
    let event: &RawValue = serde_json::from_slice(&entry.body).ok()?;
    serde_json::to_string(&Frame { seq: entry.position, event }).ok()
}
