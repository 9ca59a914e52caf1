//! What is simulated.

use domain::admission::{Policy, WEIGHT};
use serde::Deserialize;

/// Most runs of a scenario: they are held in memory.
const RUNS_MAX: u64 = 2_000_000;

/// A cluster and those who use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Slots of all workers together.
    pub slots: u32,
    /// How long it is watched, in seconds.
    pub seconds: u32,
    /// What the random numbers start from.
    #[serde(default)]
    pub seed: u64,
    /// How slots are shared: `scheduler.admission`.
    #[serde(default)]
    pub policy: Policy,
    /// Who uses it.
    pub tenants: Vec<Tenant>,
}

/// One who uses it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// A name for the report.
    pub name: String,
    /// Its share of the slots, relative to the others'.
    #[serde(default = "weight")]
    pub weight: u32,
    /// Most slots at once.
    #[serde(default)]
    pub slots_max: Option<u32>,
    /// Most of its runs that are open at once.
    #[serde(default)]
    pub runs_max: Option<u32>,
    /// When its runs come.
    pub arrivals: Arrivals,
    /// What each of its runs consists of.
    pub cells: Cells,
}

/// When runs come.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// When the first comes, in seconds.
    #[serde(default)]
    pub from_s: u32,
    /// Runs that come at once then.
    #[serde(default)]
    pub at_once: u32,
    /// Mean time between the others, in milliseconds; they come at random. 0: there are none.
    #[serde(default)]
    pub every_ms: u32,
}

/// A run's cells: one after the other.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// How long each takes, in milliseconds.
    pub ms: u32,
    /// By how much they differ, in percent of `ms` up and down.
    #[serde(default)]
    pub spread_percent: u32,
}

/// Why a scenario makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A number has to be larger.
    #[error("{0} must be at least 1")]
    Zero(String),
    /// A number has to be smaller.
    #[error("{what} must be at most {most}")]
    TooLarge {
        /// Which.
        what: String,
        /// How large it may be.
        most: u64,
    },
}

impl Scenario {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        positive("slots", self.slots)?;
        positive("seconds", self.seconds)?;
        for tenant in &self.tenants {
            let named = |field: &str| format!("{field} of {:?}", tenant.name);
            positive(&named("weight"), tenant.weight)?;
            positive(&named("cells.count"), tenant.cells.count)?;
            positive(&named("cells.ms"), tenant.cells.ms)?;
            if tenant.cells.spread_percent > 100 {
                return Err(Invalid::TooLarge { what: named("cells.spread_percent"), most: 100 });
            }
        }
        let runs = self.tenants.iter().map(|tenant| tenant.arrivals.expected(self.seconds)).sum();
        if RUNS_MAX < runs {
            return Err(Invalid::TooLarge {
                what: "the number of runs".to_owned(),
                most: RUNS_MAX,
            });
        }
        Ok(())
    }

    /// The same cluster with one tenant only.
    #[must_use]
    pub fn alone(&self, tenant: &str) -> Self {
        let tenants = self.tenants.iter().filter(|other| other.name == tenant).cloned().collect();
        Self { tenants, ..self.clone() }
    }
}

impl Arrivals {
    fn expected(self, seconds: u32) -> u64 {
        let steady = (u64::from(seconds) * 1_000).checked_div(u64::from(self.every_ms));
        u64::from(self.at_once) + steady.unwrap_or(0)
    }
}

fn positive(what: &str, number: u32) -> Result<(), Invalid> {
    if number == 0 { Err(Invalid::Zero(what.to_owned())) } else { Ok(()) }
}

fn weight() -> u32 {
    WEIGHT
}

fn one() -> u32 {
    1
}
