//! Whole runs of a chain whose cells do nothing: how long a task waits for everything but its own
//! work, and how many runs a second there are at most.

use std::time::Duration;

use anyhow::Result;
use drill::Cast;
use tokio_util::sync::CancellationToken;

use super::hollow::Work;
use super::report::Step;
use super::scene::Scene;
use crate::load::{self, Bound, Pace};

/// Cells of the chain.
pub(super) const CELLS: usize = 5;
const SLOTS: u32 = 64;

/// Measures with each number of callers for so long.
pub(super) async fn measure(
    cast: &Cast,
    concurrencies: &[usize],
    lasts: Duration,
    stop: &CancellationToken,
) -> Result<Vec<Step>> {
    let scene = Scene::start(cast, CELLS).await?;
    let worker = scene.worker("hollow", SLOTS, Work::Nothing).await?;
    let bound = |duration| Bound { runs: None, duration: Some(duration) };
    let mut steps = Vec::new();
    // The first runs open connections and fill caches.
    let warm = scene.mine.load(Pace::Closed { concurrency: 4 }, bound(lasts / 4), false)?;
    load::measure(&warm, stop).await?;
    for concurrency in concurrencies {
        scene.seen.hops.take();
        scene.seen.forget();
        let pace = Pace::Closed { concurrency: *concurrency };
        let report = load::measure(&scene.mine.load(pace, bound(lasts), false)?, stop).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        steps.extend(Step::of(*concurrency as f64, &report, scene.seen.hops.take()));
    }
    drop(worker);
    scene.stage.stop().await?;
    Ok(steps)
}
