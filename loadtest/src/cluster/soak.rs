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
    /// Memory of each process in the third and in the last quarter of the time, on average, in
    /// bytes: what only fills caches has done so by then, and a collector's ups and downs are no
    /// growth.
    pub(super) fn second_half(&self) -> Vec<(String, u64, u64)> {
        let (_, half) = self.samples.split_at(self.samples.len() / 2);
        let (third, last) = half.split_at(half.len() / 2);
        let names = half.last().into_iter().flat_map(|sample| sample.resident_bytes.keys());
        names.map(|name| (name.clone(), mean_bytes(third, name), mean_bytes(last, name))).collect()
    }
}

fn mean_bytes(samples: &[Sample], process: &str) -> u64 {
    let found = samples.iter().filter_map(|sample| sample.resident_bytes.get(process));
    let (sum, count) = found.fold((0_u64, 0), |(sum, count), bytes| (sum + bytes, count + 1));
    sum.checked_div(count).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ups_and_downs_are_no_growth() {
        let bytes = [1, 50, 60, 90, 90, 110, 88, 130];
        let sample = |bytes| Sample { second: 0.0, resident_bytes: [("a".into(), bytes)].into() };
        let runs = Step {
            at: 1.0,
            achieved_per_s: 1.0,
            latency_ms: None,
            hop_ms: None,
            failed: 0,
            errors: Vec::new(),
        };
        let samples = bytes.into_iter().map(sample).collect();
        let soak = Soak { runs, seconds: 8.0, samples };
        assert_eq!(soak.second_half(), [("a".to_owned(), 100, 109)]);
    }
}
