//! What was measured, in the form written by `--json`.

use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use drill::Cast;
use serde::Serialize;

use super::fairness::Fairness;
use super::history::History;
use super::recovery::Recovery;
use super::soak::Soak;
use super::tokens::Streams;
use crate::load::{self, ErrorReport, Percentiles};

/// Everything; a part that was not asked for is empty.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name and version of this program.
    pub tool: &'static str,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Processors that load, cluster, database and broker share.
    pub cpus: usize,
    /// APIs.
    pub apis: usize,
    /// Schedulers.
    pub schedulers: usize,
    /// By offered rate.
    pub intake: Vec<Step>,
    /// By callers.
    pub runs: Vec<Step>,
    /// By workers.
    pub scaling: Vec<Step>,
    /// Two tenants.
    pub fairness: Option<Fairness>,
    /// By streams at once.
    pub tokens: Vec<Streams>,
    /// Deaths of workers.
    pub recovery: Option<Recovery>,
    /// Memory.
    pub soak: Option<Soak>,
    /// Ended runs.
    pub history: Option<History>,
}

/// One step of a series.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What is varied: offered runs a second, callers, workers.
    pub at: f64,
    /// Good answers a second.
    pub achieved_per_s: f64,
    /// Latency of good answers.
    pub latency_ms: Option<Percentiles>,
    /// From a task's report to the run's next task being with a worker.
    pub hop_ms: Option<Percentiles>,
    /// Answers that were not good.
    pub failed: u64,
    /// Why.
    pub errors: Vec<ErrorReport>,
}

impl Report {
    pub(super) fn new(cast: &Cast) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            tool: concat!("flowcell-cluster ", env!("CARGO_PKG_VERSION")),
            started_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            cpus: available_parallelism().map_or(1, usize::from),
            apis: cast.apis,
            schedulers: cast.schedulers,
            intake: Vec::new(),
            runs: Vec::new(),
            scaling: Vec::new(),
            fairness: None,
            tokens: Vec::new(),
            recovery: None,
            soak: None,
            history: None,
        }
    }
}

impl Step {
    /// Of the only target of a measurement.
    pub(super) fn of(at: f64, report: &load::Report, hop_ms: Option<Percentiles>) -> Option<Self> {
        let target = report.targets.first()?;
        Some(Self {
            at,
            achieved_per_s: target.achieved_per_s,
            latency_ms: target.latency_ms,
            hop_ms,
            failed: target.runs.failed,
            errors: target.errors.clone(),
        })
    }
}
