//! What one tenant's backlog costs another tenant, who runs a flow now and then.

use std::time::Duration;

use anyhow::{Context as _, Result};
use drill::Cast;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::hollow::Work;
use super::scene::{Scene, Tenant};
use crate::load::{self, Arrivals, Bound, Pace, Percentiles};

const SLOTS: u32 = 16;
const SLEEP: Duration = Duration::from_millis(200);
const RATE_PER_S: f64 = 2.0;
/// Requests at once that make the backlog.
const NOISE_CALLERS: usize = 32;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Fairness {
    /// Runs of the other tenant that waited when the measurement began.
    pub backlog: u64,
    /// Latency of a run on the idle cluster.
    pub idle: Percentiles,
    /// Latency of a run beside the backlog.
    pub beside: Percentiles,
}

/// Measures the victim for so long without and with the noise.
pub(super) async fn measure(
    cast: &Cast,
    noise: u64,
    lasts: Duration,
    stop: &CancellationToken,
) -> Result<Fairness> {
    let scene = Scene::start(cast, 1).await?;
    let api = *scene.stage.apis().first().context("there is no API")?;
    let noisy = Tenant::with(api, &scene.stage.add_tenant("noisy")?, 1).await?;
    let worker = scene.worker("hollow", SLOTS, Work::Sleep(SLEEP)).await?;
    let idle = victim(&scene.mine, lasts, stop).await?;
    let bound = Bound { runs: Some(noise), duration: None };
    let flood = noisy.load(Pace::Closed { concurrency: NOISE_CALLERS }, bound, true)?;
    let flooded = load::measure(&flood, stop).await?;
    let backlog = flooded.targets.first().map_or(0, |target| target.runs.ok);
    let beside = victim(&scene.mine, lasts, stop).await?;
    drop(worker);
    scene.stage.stop().await?;
    Ok(Fairness { backlog, idle, beside })
}

async fn victim(tenant: &Tenant, lasts: Duration, stop: &CancellationToken) -> Result<Percentiles> {
    let pace = Pace::Open {
        rate_per_s: RATE_PER_S,
        arrivals: Arrivals::Poisson,
        seed: 1,
        in_flight_max: 100,
    };
    let bound = Bound { runs: None, duration: Some(lasts) };
    let report = load::measure(&tenant.load(pace, bound, false)?, stop).await?;
    let target = report.targets.into_iter().next().context("nothing was measured")?;
    target.latency_ms.with_context(|| format!("no run was answered well: {:?}", target.errors))
}
