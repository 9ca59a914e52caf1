//! The scheduler's view: runs of all tenants, leases, workers and the outbox.
//!
//! Only a scheduler holds an [`Engine`]; nothing here filters by tenant.

mod admission;
mod attempts;
mod children;
mod commit;
mod connections;
mod due;
pub(crate) mod figures;
mod frozen;
pub(crate) mod human;
pub(crate) mod load;
pub(crate) mod outbox;
mod replan;
pub(crate) mod results;
mod retention;
mod runtimes;
mod transition;
mod walk;
mod workers;

pub use admission::{AdmissionSettings, OpenGroup, PoolSize, RoundLock};
pub(crate) use admission::{QUEUED, limits_of};
pub use figures::{Queued, STATEMENTS as FIGURES_STATEMENTS, Waiting, Workers};
pub use frozen::{FROZEN_BYTES_MAX, FrozenKey};
pub use human::{Asked, HumanRequest};
pub use load::RunRecord;
pub use outbox::{OutboxMessage, Pruned};
pub use retention::{Expired, Removed};
pub use transition::{AttemptFigures, BatchOutcome, TaskResult, Transition};
pub use workers::{ExpiredAttempt, WorkerRow};

use crate::connect::Store;

/// What the scheduler asks of the store.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) store: Store,
}
