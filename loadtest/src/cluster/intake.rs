//! How many runs a second are durably acknowledged. Nobody works on them: the backlog grows.

use std::time::Duration;

use anyhow::Result;
use drill::Cast;
use tokio_util::sync::CancellationToken;

use super::report::Step;
use super::scene::Scene;
use crate::load::{self, Arrivals, Bound, Pace};

/// Requests unanswered at once; beyond it sending waits, and latency counts on.
const IN_FLIGHT_MAX: usize = 512;

/// Offers each rate for so long.
pub(super) async fn measure(
    cast: &Cast,
    rates: &[f64],
    lasts: Duration,
    stop: &CancellationToken,
) -> Result<Vec<Step>> {
    let scene = Scene::start(cast, 1).await?;
    let bound = Bound { runs: None, duration: Some(lasts) };
    let mut steps = Vec::new();
    for rate in rates {
        let pace = Pace::Open {
            rate_per_s: *rate,
            arrivals: Arrivals::Poisson,
            seed: 1,
            in_flight_max: IN_FLIGHT_MAX,
        };
        let report = load::measure(&scene.mine.load(pace, bound, true)?, stop).await?;
        steps.extend(Step::of(*rate, &report, None));
    }
    scene.stage.stop().await?;
    Ok(steps)
}
