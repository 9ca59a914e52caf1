//! What this scheduler may start and offer without asking the others.
//!
//! While nobody waits, a task that becomes ready is offered in the transition that made it ready:
//! that takes from the headroom that the last round left. Where there is none, or where a limit
//! applies, it waits for the next round ([`crate::rounds`]), which is asked for at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::admission::LimitKey;
use domain::limits::FLOW_DEPTH_MAX;
use store::{AdmissionSettings, RunRecord, now};
use tokio::sync::Notify;

use crate::task_queue::TaskQueue;

/// How many tasks a transition may offer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grant {
    /// As many as there is headroom for.
    Headroom,
    /// So many: a round admitted them.
    Tasks(usize),
}

/// Shared by all parts of a scheduler.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    known: Mutex<Known>,
    wanted: Notify,
    arrived: Notify,
    is_waited_for: AtomicBool,
}

/// What the last round left behind.
#[derive(Debug, Default)]
struct Known {
    settings: Arc<AdmissionSettings>,
    headroom: HashMap<TaskQueue, usize>,
}

impl Admission {
    /// Whether a queued run may be started here and now.
    pub(crate) fn may_start(&self, record: &RunRecord, queue: &TaskQueue) -> bool {
        // A component waits for it, and holds a slot meanwhile.
        let is_child = record.depth > 0;
        let is_due = record.not_before.is_none_or(|not_before| not_before <= now());
        is_child || (is_due && !self.is_limited(record) && self.headroom(queue) > 0)
    }

    /// Takes as much headroom as there is, up to so many tasks.
    pub(crate) fn take(&self, record: &RunRecord, queue: &TaskQueue, tasks: usize) -> usize {
        if self.is_limited(record) {
            return 0;
        }
        let mut known = self.known();
        let left = known.headroom.entry(queue.clone()).or_default();
        let taken = tasks.min(*left);
        *left -= taken;
        taken
    }

    /// Asks for a round.
    pub(crate) fn want_round(&self) {
        self.wanted.notify_one();
    }

    /// Asks for a round if the last one left somebody waiting.
    pub(crate) fn slot_is_free(&self) {
        if self.is_waited_for.load(Ordering::Relaxed) {
            self.want_round();
        }
    }

    /// Until a round is wanted.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Tells that somebody waits who did not before, while nothing became free: the next round may
    /// be a moment later.
    pub(crate) fn somebody_waits(&self) {
        // A slot that is freed from here on asks for a round at once.
        self.is_waited_for.store(true, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Until somebody waits who did not before.
    pub(crate) async fn somebody_waiting(&self) {
        self.arrived.notified().await;
    }

    /// Whether any queue has headroom. Where none has, no run can be started without a round.
    pub(crate) fn has_headroom(&self) -> bool {
        self.known().headroom.values().any(|left| *left > 0)
    }

    /// The settings as they were last read.
    pub(crate) fn settings(&self) -> Arc<AdmissionSettings> {
        Arc::clone(&self.known().settings)
    }

    pub(crate) fn set_settings(&self, settings: AdmissionSettings) {
        self.known().settings = Arc::new(settings);
    }

    /// What a round leaves.
    pub(crate) fn leave(&self, headroom: HashMap<TaskQueue, usize>, is_waited_for: bool) {
        self.known().headroom = headroom;
        self.is_waited_for.store(is_waited_for, Ordering::Relaxed);
    }

    fn headroom(&self, queue: &TaskQueue) -> usize {
        self.known().headroom.get(queue).copied().unwrap_or(0)
    }

    /// Whether a limit may hold the run back: only a round, which sees all runs, can tell.
    fn is_limited(&self, record: &RunRecord) -> bool {
        let settings = self.settings();
        let tenant = settings.tenants.get(&record.tenant);
        tenant.is_some_and(|set| set.runs_max.is_some() || set.slots_max.is_some())
            || record.counted_by.iter().any(|key| match key {
                LimitKey::Tenant => false,
                LimitKey::Flow(flow) => settings.flows.contains_key(flow),
                LimitKey::ApiKey(key) => settings.keys.contains_key(key),
                LimitKey::Custom(_) => true,
            })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every queue of a pool.
pub(crate) fn queues_of(pool: &str) -> impl Iterator<Item = TaskQueue> + '_ {
    (0..=FLOW_DEPTH_MAX).map(|depth| TaskQueue { pool: pool.to_owned(), depth })
}
