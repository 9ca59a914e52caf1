//! What a drill found, for people and programs.

mod markdown;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fault::Fault;
use crate::recovery::{Recovery, Spread};
use crate::time::Millis;
use crate::verdict::Check;

/// The result of a drill.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The programs under test: where there are two, both.
    pub(crate) builds: Vec<String>,
    /// When it began (RFC 3339).
    pub(crate) began: String,
    pub(crate) seed: u64,
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// From the first fault's start until every run had ended.
    pub(crate) lasted_ms: Millis,
    pub(crate) faults_at_once: usize,
    pub(crate) runs_per_minute: u32,
    pub(crate) counts: Counts,
    pub(crate) checks: Vec<Check>,
    pub(crate) kinds: Vec<KindRow>,
    pub(crate) faults: Vec<FaultRow>,
    /// Kinds of fault that were not made, and why.
    pub(crate) left_out: Vec<LeftOut>,
    /// How often processes ended that nobody had ended. They were started again.
    pub(crate) ended_by_themselves: BTreeMap<String, usize>,
}

/// How much of everything there was.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) runs: usize,
    /// Submissions that got no answer and were sent again.
    pub(crate) repeated_submissions: u32,
    /// Connections of readers of live events, beyond the first of each run.
    pub(crate) reconnections: u32,
    pub(crate) attempts: usize,
    /// Attempts that were lost.
    pub(crate) lost_attempts: usize,
    /// Executions that were counted outside.
    pub(crate) executions: usize,
    /// Runs whose log may have lost its beginning with the store of NATS.
    pub(crate) logs_cut: usize,
}

/// A fault that was made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultRow {
    pub(crate) number: usize,
    pub(crate) fault: Fault,
    pub(crate) name: String,
    pub(crate) target: String,
    /// Since the first fault.
    pub(crate) after_ms: Millis,
    pub(crate) lasted_ms: Millis,
    #[serde(flatten)]
    pub(crate) recovery: Recovery,
}

/// All faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KindRow {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) next_run: Option<Spread>,
    pub(crate) settled: Option<Spread>,
}

/// A kind of fault that was not made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) name: String,
    pub(crate) why: String,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.broken.is_empty())
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        table::write(self)
    }

    /// For `docs/`.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::write(self)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Faults by kind, in order of the kinds.
pub(crate) fn kinds(faults: &[FaultRow]) -> Vec<KindRow> {
    let mut kinds: BTreeMap<Fault, Vec<&FaultRow>> = BTreeMap::new();
    for row in faults {
        kinds.entry(row.fault).or_default().push(row);
    }
    let row = |(fault, rows): (Fault, Vec<&FaultRow>)| KindRow {
        name: fault.to_string(),
        count: rows.len(),
        next_run: Spread::of(rows.iter().filter_map(|row| row.recovery.next_run_ms)),
        settled: Spread::of(rows.iter().filter_map(|row| row.recovery.settled_ms)),
    };
    kinds.into_iter().map(row).collect()
}
