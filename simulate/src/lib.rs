//! A cluster under a virtual clock.
//!
//! What decides is what decides in a scheduler: [`domain::admission`] says whose turn it is, and
//! [`domain::run`] moves every run. Only time, arrivals and the length of cells are made up, from
//! a seed: the same scenario gives the same report.
//!
//! ```text
//! arrivals ─▶ queued ─▶ round (admission) ─▶ offers, in order ─▶ slots ─▶ finished ─▶ report
//! ```
//! Left out on purpose: failures ([`domain::run`]'s own simulation has them), and the
//! milliseconds of the database and the bus.

mod report;
mod scenario;
mod world;

pub use report::{Report, TenantReport};
pub use scenario::{Arrivals, Cells, Invalid, Scenario, Tenant};

/// Runs a scenario to its end.
///
/// # Errors
/// [`Invalid`] for a scenario that makes no sense.
pub fn run(scenario: &Scenario) -> Result<Report, Invalid> {
    scenario.check()?;
    Ok(world::World::new(scenario).run())
}
