//! What a pool tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::sandbox;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) prepared: AtomicU64,
    pub(super) prepare_ms: AtomicU64,
    pub(super) prepare_failed: AtomicU64,
    pub(super) taken_ready: AtomicU64,
    pub(super) taken_after_wait: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) died: AtomicU64,
    pub(super) destroyed: AtomicU64,
}

/// Figures of a pool, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Containers that became ready.
    pub prepared: u64,
    /// How long that took, in all, in milliseconds.
    pub prepare_ms: u64,
    /// Starts that failed.
    pub prepare_failed: u64,
    /// Containers taken that were ready.
    pub taken_ready: u64,
    /// Containers taken that had to be waited for.
    pub taken_after_wait: u64,
    /// Containers given up because they waited too long.
    pub expired: u64,
    /// Containers that ended while they waited.
    pub died: u64,
    /// Containers destroyed.
    pub destroyed: u64,
    /// Containers that exist now, of any kind.
    pub containers: u64,
    /// Of these, those that wait.
    pub ready: u64,
    /// Of these, those that are starting.
    pub warming: u64,
    /// Tasks that wait for a container now.
    pub waiting: u64,
}

/// How one spec is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShelfHealth {
    /// The image.
    pub image: String,
    /// How many should wait.
    pub target: u32,
    /// How many wait.
    pub ready: u32,
    /// How many are starting.
    pub warming: u32,
    /// How many tasks wait.
    pub waiting: u32,
    /// Why the last start failed; `None` when it did not.
    pub failure: Option<String>,
}

/// Why there is no container.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The container could not be made.
    #[error(transparent)]
    Prepare(Arc<sandbox::Error>),
    /// None became ready in time.
    #[error("no container became ready within {after_ms} ms (worker.pool.take_ms_max){reason}")]
    TimedOut {
        /// The limit.
        after_ms: u64,
        /// Why the last start failed, as `: …`, or nothing.
        reason: String,
    },
    /// The pool is closed.
    #[error("the worker is stopping")]
    Closed,
}

impl Counters {
    /// The counters; what exists now is for the stock to say.
    pub(super) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            prepared: read(&self.prepared),
            prepare_ms: read(&self.prepare_ms),
            prepare_failed: read(&self.prepare_failed),
            taken_ready: read(&self.taken_ready),
            taken_after_wait: read(&self.taken_after_wait),
            expired: read(&self.expired),
            died: read(&self.died),
            destroyed: read(&self.destroyed),
            ..Figures::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}
