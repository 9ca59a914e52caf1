//! From a component's token, through the run's log on NATS and an API, to the client.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drill::Cast;
use futures::StreamExt as _;
use serde::Serialize;
use tokio::task::JoinSet;

use super::hollow::{MADE_AT, Work, now_us};
use super::measured::Times;
use super::scene::{Scene, Tenant};
use crate::load::Percentiles;

const TOKENS: u32 = 250;
const EVERY: Duration = Duration::from_millis(20);
/// Runs that stream at once.
const STREAMS: [u32; 3] = [1, 10, 50];

/// So many runs that streamed at once.
#[derive(Debug, Clone, Serialize)]
pub struct Streams {
    /// Runs at once.
    pub runs: u32,
    /// Tokens a second, all runs together, that the components make.
    pub tokens_per_s: f64,
    /// From the making of a token to the client having it.
    pub latency_ms: Percentiles,
}

pub(super) async fn measure(cast: &Cast) -> Result<Vec<Streams>> {
    let scene = Scene::start(cast, 1).await?;
    let work = Work::Speak { tokens: TOKENS, every: EVERY };
    let worker = scene.worker("hollow", STREAMS.into_iter().max().unwrap_or(1), work).await?;
    let mut found = Vec::new();
    for runs in STREAMS {
        let times = Times::new()?;
        let mut clients = JoinSet::new();
        for _ in 0..runs {
            clients.spawn(follow(scene.mine.clone(), times.clone()));
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        found.push(Streams {
            runs,
            tokens_per_s: f64::from(runs) / EVERY.as_secs_f64(),
            latency_ms: times.take().context("no token came")?,
        });
    }
    drop(worker);
    scene.stage.stop().await?;
    Ok(found)
}

async fn follow(tenant: Tenant, times: Times) -> Result<()> {
    let run = tenant.submit().await?;
    let mut bytes = tenant.events(&run).await?.bytes_stream();
    let (mut text, mut tokens) = (String::new(), 0);
    while let Some(piece) = bytes.next().await {
        text.push_str(&String::from_utf8_lossy(&piece?));
        while let Some(end) = text.find('\n') {
            let line: String = text.drain(..=end).collect();
            if let Some(made) = made_at(&line) {
                times.add(Duration::from_micros(now_us().saturating_sub(made)));
                tokens += 1;
            }
        }
    }
    ensure!(tokens == TOKENS, "{tokens} of {TOKENS} tokens of run {run} came");
    Ok(())
}

/// When the token of an event was made.
fn made_at(line: &str) -> Option<u64> {
    let event: serde_json::Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
    event.pointer(&format!("/data/{MADE_AT}"))?.as_u64()
}
