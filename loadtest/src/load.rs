//! The load generator: calls a flow's run endpoint at a known pace and says what came back, when.
//!
//! ```text
//!  args ─► config ─► measure ─► driver (closed or open loop) ─► client (one run) ─► record ─► report ─► table, JSON, plot
//!                       └ sweep: the same at several concurrencies, then the knee
//! ```
//!
//! In an open loop latency counts from the moment a run was due, not from when it was sent, so a
//! target that stalls cannot hide the callers it kept waiting ("coordinated omission").

mod answer;
mod args;
mod client;
mod config;
mod driver;
mod frames;
mod measure;
mod outcome;
mod plot;
mod progress;
mod record;
mod report;
mod schedule;
mod sweep;
mod table;

pub(crate) use config::parse_duration;
pub(crate) use record::percentiles;

pub use args::{Cli, Task, execute};
pub use config::{Arrivals, Bound, Config, Job, Pace, Target};
pub use measure::measure;
pub use report::{ErrorReport, Percentiles, Ratios, Report, Runs, Second, TargetReport};
pub use sweep::{SweepReport, sweep};
