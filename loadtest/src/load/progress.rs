//! The bar on stderr. It hides itself when that is no terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::config::Bound;

const REDRAW: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    by_runs: bool,
    failed: AtomicU64,
}

impl Progress {
    pub(crate) fn new(title: &str, bound: Bound, targets: u64) -> Self {
        let length = match (bound.runs, bound.duration) {
            (Some(runs), _) => runs,
            (None, Some(time)) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            (None, None) => 0,
        };
        let bar = ProgressBar::new(length.saturating_mul(targets));
        // The template is a constant; if it were wrong the default one would do.
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}% {elapsed} {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(REDRAW);
        Self {
            bar,
            started: Instant::now(),
            by_runs: bound.runs.is_some(),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn run_finished(&self, good: bool) {
        if self.by_runs {
            self.bar.inc(1);
        } else {
            let elapsed = self.started.elapsed().as_millis();
            self.bar.set_position(u64::try_from(elapsed).unwrap_or(u64::MAX));
        }
        if !good {
            let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
            self.bar.set_message(format!("{failed} failed"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
