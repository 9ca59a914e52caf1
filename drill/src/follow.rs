//! A client that follows a run to its end, through whichever API lives, and notes every event.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use proto::http::RunView;
use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::api::Apis;

/// The server pings every 15 seconds: one that is silent for longer is asleep or cut off.
const SILENCE_MAX: Duration = Duration::from_secs(18);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_millis(400);

/// The run has ended, and so has its log.
const CLOSE_NORMAL: u16 = 1000;

/// A run's log as one reader got it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Log {
    pub(crate) events: BTreeMap<u64, Value>,
    /// Positions that came twice or out of order, or after some that did not come.
    pub(crate) irregular: Vec<String>,
    pub(crate) connections: u32,
}

/// A run as a client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) live: Log,
    pub(crate) view: RunView,
}

#[derive(Debug, Deserialize)]
struct Entry {
    seq: u64,
    event: Value,
}

/// Follows a run until it has ended, and looks at it then.
pub(crate) async fn follow(apis: &Apis, run: &str) -> Result<Followed> {
    let live = read(apis, run).await?;
    loop {
        let view = apis.run(run).await?;
        if view.ended_at.is_some() {
            return Ok(Followed { live, view });
        }
        // Its last event was told before its row could be read, or its log ended too early.
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Reads a run's whole log.
pub(crate) async fn read(apis: &Apis, run: &str) -> Result<Log> {
    let mut log = Log::default();
    // A connection that breaks is followed by another one, after the last position seen.
    while !matches!(connection(apis, run, &mut log).await, Ok(End::OfLog)) {
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    Ok(log)
}

enum End {
    OfLog,
    OfConnection,
}

async fn connection(apis: &Apis, run: &str, log: &mut Log) -> Result<End> {
    let after = log.events.last_key_value().map_or(0, |(position, _)| *position);
    let url = format!("ws://{}/api/flowcell/v1/runs/{run}/ws?after={after}", apis.any()?);
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("x-api-key", apis.key.parse()?);
    let connecting = tokio_tungstenite::connect_async(request);
    let (mut socket, _) = tokio::time::timeout(CONNECT_WITHIN, connecting).await??;
    log.connections += 1;
    loop {
        let message = tokio::time::timeout(SILENCE_MAX, socket.next()).await?;
        match message.context("the connection ended")?? {
            Message::Text(text) => log.add(serde_json::from_str(&text)?),
            Message::Close(frame) => {
                let is_end = frame.is_some_and(|frame| u16::from(frame.code) == CLOSE_NORMAL);
                return Ok(if is_end { End::OfLog } else { End::OfConnection });
            }
            _ => {}
        }
    }
}

impl Log {
    fn add(&mut self, entry: Entry) {
        let expected = self.events.last_key_value().map_or(1, |(position, _)| position + 1);
        if entry.seq != expected {
            self.irregular.push(format!("{} came where {expected} was due", entry.seq));
        }
        self.events.insert(entry.seq, entry.event);
    }

    /// The types of its events.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &str> {
        self.events.values().map(kind)
    }
}

/// An event's type.
pub(crate) fn kind(event: &Value) -> &str {
    event.get("type").and_then(Value::as_str).unwrap_or_default()
}
