//! Very many runs, one after another: whether anything grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use drill::Cast;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::hollow::Work;
use super::report::Step;
use super::scene::Scene;
use crate::load::{self, Bound, Pace};

const CALLERS: usize = 16;
const SLOTS: u32 = 32;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Soak {
    /// The runs.
    pub runs: Step,
    /// How long it took.
    pub seconds: f64,
    /// Resident memory of every process, every few seconds.
    pub samples: Vec<Sample>,
}

/// Memory at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Since the beginning.
    pub second: f64,
    /// By process.
    pub resident_bytes: BTreeMap<String, u64>,
}

impl Soak {
    /// Memory of each process when half of the time was over and at the end, in bytes: what only
    /// fills caches has done so by then.
    pub(super) fn second_half(&self) -> Vec<(String, u64, u64)> {
        let (Some(half), Some(last)) =
            (self.samples.get(self.samples.len() / 2), self.samples.last())
        else {
            return Vec::new();
        };
        let processes = last.resident_bytes.iter();
        let both = processes.map(|(name, end)| {
            (name.clone(), half.resident_bytes.get(name).copied().unwrap_or(0), *end)
        });
        both.collect()
    }
}

pub(super) async fn measure(cast: &Cast, runs: u64, stop: &CancellationToken) -> Result<Soak> {
    let scene = Scene::start(cast, 1).await?;
    let worker = scene.worker("hollow", SLOTS, Work::Nothing).await?;
    let bound = Bound { runs: Some(runs), duration: None };
    let config = scene.mine.load(Pace::Closed { concurrency: CALLERS }, bound, false)?;
    let (began, mut samples) = (Instant::now(), Vec::new());
    let report = {
        let mut measuring = std::pin::pin!(load::measure(&config, stop));
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        loop {
            tokio::select! {
                report = &mut measuring => break report?,
                _ = ticks.tick() => {
                    scene.seen.forget();
                    let (second, resident_bytes) =
                        (began.elapsed().as_secs_f64(), scene.stage.memory());
                    samples.push(Sample { second, resident_bytes });
                }
            }
        }
    };
    drop(worker);
    scene.stage.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let step = Step::of(CALLERS as f64, &report, None).context("nothing was measured")?;
    Ok(Soak { runs: step, seconds: began.elapsed().as_secs_f64(), samples })
}
