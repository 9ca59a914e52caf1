//! What 1, 2 and 4 workers give when cells only wait, as they do for a model.

use std::time::Duration;

use anyhow::Result;
use drill::Cast;
use tokio_util::sync::CancellationToken;

use super::hollow::Work;
use super::report::Step;
use super::scene::Scene;
use crate::load::{self, Bound, Pace};

const WORKERS: [u32; 3] = [1, 2, 4];
pub(super) const SLOTS: u32 = 8;
pub(super) const SLEEP: Duration = Duration::from_millis(500);

/// Runs a second that so many workers could give if nothing else took time.
pub(super) fn ideal_per_s(workers: f64) -> f64 {
    workers * f64::from(SLOTS) / SLEEP.as_secs_f64()
}

/// Keeps every slot busy for so long, with each number of workers.
pub(super) async fn measure(
    cast: &Cast,
    lasts: Duration,
    stop: &CancellationToken,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for count in WORKERS {
        let scene = Scene::start(cast, 1).await?;
        let mut workers = Vec::new();
        for number in 1..=count {
            let name = format!("hollow-{number}");
            workers.push(scene.worker(&name, SLOTS, Work::Sleep(SLEEP)).await?);
        }
        // Twice as many callers as slots: none is ever free for want of a run.
        let concurrency = usize::try_from(2 * count * SLOTS)?;
        let bound = Bound { runs: None, duration: Some(lasts) };
        let pace = Pace::Closed { concurrency };
        let report = load::measure(&scene.mine.load(pace, bound, false)?, stop).await?;
        steps.extend(Step::of(f64::from(count), &report, None));
        drop(workers);
        scene.stage.stop().await?;
    }
    Ok(steps)
}
