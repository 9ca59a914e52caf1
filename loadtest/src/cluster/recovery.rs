//! From a worker's death, which nobody announces, to every task of it being another worker's.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use drill::Cast;
use serde::Serialize;
use tokio::task::JoinSet;

use super::hollow::{Seen, Work, Worker};
use super::measured::Times;
use super::scene::Scene;
use crate::load::Percentiles;

const SLOTS: u32 = 16;
/// Fewer than slots: a part of them is kept free for tenants without any.
const RUNS: usize = 8;
/// Longer than a recovery may take: what is held stays held until its worker dies.
const SLEEP: Duration = Duration::from_secs(20);
const DEATHS: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    /// Workers that died.
    pub deaths: usize,
    /// From a death to each of the worker's tasks being assigned anew.
    pub reassigned_ms: Percentiles,
}

pub(super) async fn measure(cast: &Cast) -> Result<Recovery> {
    let scene = Scene::start(cast, 1).await?;
    let times = Times::new()?;
    let mut alive = scene.worker("hollow-0", SLOTS, Work::Sleep(SLEEP)).await?;
    for death in 1..=DEATHS {
        let mut runs = JoinSet::new();
        for _ in 0..RUNS {
            let mine = scene.mine.clone();
            runs.spawn(async move { mine.submit().await });
        }
        while let Some(run) = runs.join_next().await {
            run??;
        }
        wait_until(|| alive.held().len() == RUNS).await?;
        let next = scene.worker(&format!("hollow-{death}"), SLOTS, Work::Sleep(SLEEP)).await?;
        kill(std::mem::replace(&mut alive, next), &scene.seen, &times).await?;
        // They go on there; the next death must not find them.
        wait_until(|| alive.held().is_empty()).await?;
    }
    drop(alive);
    scene.stage.stop().await?;
    let reassigned_ms = times.take().ok_or_else(|| anyhow::anyhow!("nothing was reassigned"))?;
    Ok(Recovery { deaths: DEATHS, reassigned_ms })
}

async fn kill(worker: Worker, seen: &Seen, times: &Times) -> Result<()> {
    let lost: BTreeSet<_> =
        worker.held().into_iter().map(|attempt| (attempt.run, attempt.task)).collect();
    let died = Instant::now();
    drop(worker);
    let again = || -> HashMap<_, Instant> {
        let later = seen.assigned().into_iter().filter(|(_, at)| *at > died);
        later.map(|(attempt, at)| ((attempt.run, attempt.task), at)).collect()
    };
    wait_until(|| lost.iter().all(|task| again().contains_key(task))).await?;
    for (_, at) in again().into_iter().filter(|(task, _)| lost.contains(task)) {
        times.add(at.saturating_duration_since(died));
    }
    Ok(())
}

async fn wait_until(done: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + WITHIN;
    while !done() {
        ensure!(Instant::now() < until, "a death was not noticed within {WITHIN:?}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
