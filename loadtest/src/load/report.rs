//! What a measurement found, in the form written by `--json`.

use serde::Serialize;

use super::config::Config;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name and version of this program.
    pub tool: &'static str,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Processors this program could use; the target often shares them.
    pub cpus: usize,
    /// Whether it was interrupted before its bound.
    pub interrupted: bool,
    /// What was asked for. Keys are left out.
    pub config: Config,
    /// What each target did.
    pub targets: Vec<TargetReport>,
    /// The second target's figures over the first's.
    pub ratios: Option<Ratios>,
}

/// What one target did.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    /// `A` or `B`.
    pub label: String,
    /// How runs ended.
    pub runs: Runs,
    /// Seconds this target was measured, to its last answer.
    pub elapsed_s: f64,
    /// Runs due per second, in an open loop.
    pub offered_per_s: Option<f64>,
    /// Good runs per second.
    pub achieved_per_s: f64,
    /// Latency of good runs.
    pub latency_ms: Option<Percentiles>,
    /// Latency of failed and wrong runs.
    pub failed_latency_ms: Option<Percentiles>,
    /// Time to the first token of good streams.
    pub first_token_ms: Option<Percentiles>,
    /// How late this program sent what was due; not the target's doing unless runs in flight
    /// were at their maximum. The timer's tick adds about a millisecond.
    pub send_lag_ms: Option<Percentiles>,
    /// Failures by class, most frequent first.
    pub errors: Vec<ErrorReport>,
    /// One row a second; the last may be a part of one.
    pub series: Vec<Second>,
}

/// How runs ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// Answered well.
    pub ok: u64,
    /// Everything else, `wrong` and `unsent` included.
    pub failed: u64,
    /// Answered without the expected text.
    pub wrong: u64,
    /// Due in an open loop, and never sent because too many others were unanswered.
    pub unsent: u64,
    /// Good streams in which no token came before the end.
    pub without_token: u64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// Half are below.
    pub p50: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// One class of failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// What happened.
    pub class: String,
    /// How often.
    pub count: u64,
    /// The first one.
    pub example: String,
}

/// Runs which ended in one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// Which, from 0, of the time this target was measured.
    pub second: u64,
    /// Good runs.
    pub ok: u64,
    /// Failed runs.
    pub failed: u64,
    /// Median latency of the good ones.
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

/// B's figure divided by A's. None where either is missing or A's is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Of good runs per second.
    pub throughput: Option<f64>,
    /// Of the median latency.
    pub p50: Option<f64>,
    /// Of the 95th percentile.
    pub p95: Option<f64>,
    /// Of the 99th percentile.
    pub p99: Option<f64>,
    /// Of the median time to the first token.
    pub first_token_p50: Option<f64>,
}

impl Runs {
    /// All runs that were due.
    pub fn due(self) -> u64 {
        self.ok.saturating_add(self.failed)
    }
}

impl Ratios {
    pub(crate) fn of(a: &TargetReport, b: &TargetReport) -> Self {
        let latency = |pick: fn(&Percentiles) -> f64| {
            divided(b.latency_ms.as_ref().map(pick), a.latency_ms.as_ref().map(pick))
        };
        Self {
            throughput: divided(Some(b.achieved_per_s), Some(a.achieved_per_s)),
            p50: latency(|percentiles| percentiles.p50),
            p95: latency(|percentiles| percentiles.p95),
            p99: latency(|percentiles| percentiles.p99),
            first_token_p50: divided(
                b.first_token_ms.map(|percentiles| percentiles.p50),
                a.first_token_ms.map(|percentiles| percentiles.p50),
            ),
        }
    }
}

impl Report {
    /// Whether every run of every target was good, and there were any.
    pub fn all_good(&self) -> bool {
        self.targets.iter().all(|target| target.runs.ok > 0 && target.runs.failed == 0)
    }

    /// Whether each target answered at least one run well: without, nothing was measured.
    pub fn any_good(&self) -> bool {
        self.targets.iter().all(|target| target.runs.ok > 0)
    }
}

fn divided(upper: Option<f64>, lower: Option<f64>) -> Option<f64> {
    match (upper, lower) {
        (Some(upper), Some(lower)) if lower > 0.0 => Some(upper / lower),
        _ => None,
    }
}
