//! The scheduler: it alone changes runs.
//!
//! ```text
//!  queue "runs" ──▶ intake ─┐                      ┌─▶ task queue, run events, worker orders
//!  worker requests ─────────┼─▶ engine ─▶ store ───┤      (outbox first, then at once)
//!  rounds (admission) ──────┤   decide   commit    └─▶ relay repeats what was not published
//!  sweep (clock), leases ───┘
//!  retention ─▶ store           removes what is older than its tenant keeps it
//! ```
//!
//! Any number of schedulers may run: a transition is one guarded transaction, so of two that
//! decide about the same run one wins and the other decides again.

mod admission;
mod assignment;
mod attempts;
mod branches;
mod calls;
mod catalog;
mod children;
mod engine;
mod error;
mod events;
mod figures;
mod flow;
mod frozen;
mod human;
mod intake;
mod leases;
mod metrics;
mod outgoing;
mod replan;
mod requests;
mod retention;
mod rounds;
mod runtimes;
mod spans;
mod sweep;
mod task_queue;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use domain::admission::Policy;
use domain::limits::{FLOW_DEPTH_MAX, FileLimits};
use domain::runtime::Runtimes;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use service::drain::Drain;
use service::trace::Tracer;
use store::Store;

pub use error::Error;

use crate::engine::Engine;

/// How a scheduler works.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The pool whose workers get the tasks.
    pub pool: String,
    /// The images that cells run in: `[runtimes]`, which the API reads as well.
    #[serde(skip)]
    pub runtimes: Runtimes,
    /// How slots are shared among tenants.
    pub admission: Policy,
    /// Where spans of runs go.
    #[serde(skip)]
    pub tracer: Tracer,
    /// How long runs are kept: `[retention]`, which the API reads as well.
    #[serde(skip)]
    pub retention: domain::retention::Settings,
    /// Worker requests that are handled at the same time.
    pub requests_max: usize,
    /// How often the clock is looked at, in milliseconds.
    pub sweep_ms: u64,
    /// How long the event log of an ended run stays on the bus before it is archived, in
    /// milliseconds: long enough for those who follow it live.
    pub archive_after_ms: u64,
    /// How much of files that components write may be stored.
    pub files: FileLimits,
    /// How often what waits in the cluster is counted for the metrics, in milliseconds.
    pub figures_ms: u64,
    /// How deeply flows may run flows: 1 lets a flow run others that run none; 0 lets none; at
    /// most 8, the default.
    pub flow_depth_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pool: "default".to_owned(),
            runtimes: Runtimes::default(),
            admission: Policy::default(),
            tracer: Tracer::default(),
            retention: domain::retention::Settings::default(),
            requests_max: 256,
            sweep_ms: 500,
            archive_after_ms: 60_000,
            files: FileLimits::default(),
            figures_ms: 5_000,
            flow_depth_max: FLOW_DEPTH_MAX,
        }
    }
}

/// A scheduler that is not running yet.
#[derive(Debug)]
pub struct Scheduler {
    engine: Arc<Engine>,
    config: Config,
}

impl Scheduler {
    /// A scheduler on a store and a bus.
    #[must_use]
    pub fn new(store: Store, bus: Bus, config: Config) -> Self {
        Self { engine: Arc::new(Engine::new(store, bus, &config)), config }
    }

    /// Adds its figures to those of the process.
    pub fn expose(&self, registry: &mut Registry) {
        self.engine.metrics.expose(registry);
    }

    /// Starts its parts; they end when `drain` begins.
    ///
    /// # Errors
    /// When the bus cannot be used.
    pub async fn start(self, drain: &Drain) -> Result<(), Error> {
        let intake = intake::Intake::open(Arc::clone(&self.engine)).await?;
        let requests =
            requests::Requests::open(Arc::clone(&self.engine), self.config.requests_max).await?;
        let sweep = sweep::Sweep::new(
            Arc::clone(&self.engine),
            Duration::from_millis(self.config.sweep_ms),
            Duration::from_millis(self.config.archive_after_ms),
        );
        let rounds = rounds::Rounds::new(
            Arc::clone(&self.engine),
            self.config.admission,
            Duration::from_millis(self.config.sweep_ms),
        );
        let figures = figures::Figures::new(
            Arc::clone(&self.engine),
            // A figure a moment old is as good, and nothing may ask without a pause.
            Duration::from_millis(self.config.figures_ms.max(100)),
            Duration::from_millis(self.config.archive_after_ms),
        );
        drain.spawn("figures", figures.run(drain.token()));
        drain.spawn("intake", intake.run(drain.token()));
        drain.spawn("rounds", rounds.run(drain.token()));
        drain.spawn("requests", requests.run(drain.token()));
        drain.spawn("sweep", sweep.run(drain.token()));
        let leases = leases::Leases::new(
            Arc::clone(&self.engine),
            Duration::from_millis(self.config.sweep_ms),
        );
        drain.spawn("leases", leases.run(drain.token()));
        let remover = retention::Remover::new(Arc::clone(&self.engine), self.config.retention);
        drain.spawn("retention", remover.run(drain.token()));
        Ok(())
    }
}
