//! What is started and offered next.
//!
//! The backlog stays in the database: runs that are queued, tasks that are ready. A round admits
//! only about as much as there are slots, so priorities, limits and fairness act until the last
//! moment.
//!
//! ```text
//! waiting ─▶ round ─┬─ limits: is a slot, or another open run, allowed?   (limits on what is open)
//!                   └─ shares: whose turn is it?                          (fair queueing)
//!            ─▶ started, offered ─▶ workers
//! ```
//!
//! **Fair queueing** is by time in slots, not by number of tasks: every tenant has a virtual time
//! that grows by what it holds, divided by its weight, and the tenant with the smallest one goes
//! next. A tenant that was away starts at the present, so it neither owes nor is owed anything for
//! the time before; one that held more than its share waits until the others have caught up.

mod open;
mod settings;
mod shares;

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

pub use open::{LimitKey, OpenRuns, RunLimit};
pub use settings::{FlowSettings, NodeSettings, TenantSettings};
pub use shares::Shares;

use crate::id::{RunId, TenantId};
use crate::time::Timestamp;

/// The share of a tenant for which nothing is set.
pub const WEIGHT: u32 = 100;

/// How slots are given away.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Offers beyond the free slots, in percent of all slots (one at least): a worker that becomes
    /// free finds its next task on the queue. More of them make others wait behind them.
    pub ahead_percent: u32,
    /// Slots, in percent of all (rounded down), that only a tenant without any gets: somebody who
    /// comes while all others hold long tasks finds one that is free. Where any are kept back,
    /// nothing is offered ahead to those who have slots: it would end up in them.
    pub reserve_percent: u32,
    /// What a task costs its tenant even if no round ever sees it in a slot, in milliseconds.
    pub task_ms_min: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { ahead_percent: 25, reserve_percent: 10, task_ms_min: 5 }
    }
}

/// What is set for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its share of the slots while others want them too, relative to theirs.
    pub weight: u32,
    /// Most slots of a queue at once.
    pub slots_max: Option<u32>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight: WEIGHT, slots_max: None }
    }
}

/// One queue: the slots of a pool's workers for tasks of one depth, and who wants them.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Slots of the workers that live.
    pub slots: u32,
    /// What each tenant holds.
    pub held: BTreeMap<TenantId, Held>,
    /// What each tenant has had.
    pub shares: Shares,
    /// What each tenant wants.
    pub waiting: BTreeMap<TenantId, Backlog>,
}

/// What a tenant holds of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its tasks that are offered: nobody else can have the slots that they will get.
    pub offered: u32,
    /// Its tasks that are in a slot, which it pays for.
    pub in_slots: u32,
}

/// What a tenant wants of a queue, most urgent first.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// Tasks that are ready.
    pub tasks: VecDeque<ReadyTask>,
    /// Runs that are queued.
    pub runs: VecDeque<QueuedRun>,
}

/// A task that may be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyTask {
    /// Its run.
    pub run: RunId,
    /// Its place in the run.
    pub task: u32,
    /// Higher goes first among what its tenant wants.
    pub priority: i32,
}

/// A run that may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun {
    /// The run.
    pub run: RunId,
    /// Higher goes first among what its tenant wants.
    pub priority: i32,
    /// What it counts against.
    pub limits: Vec<RunLimit>,
}

/// What a round lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Offer this task.
    Task(ReadyTask),
    /// Start this run.
    Run(RunId),
}

/// One round of admission.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// When.
    pub now: Timestamp,
    /// How.
    pub policy: Policy,
    /// What is set for tenants, where anything is.
    pub terms: &'a BTreeMap<TenantId, Terms>,
}

impl Policy {
    /// The most tasks of a queue that are offered or in a slot. Where no worker is known yet, a
    /// few are offered, so that the first one finds work at once.
    #[must_use]
    pub fn capacity(&self, slots: u32) -> u32 {
        let slots = slots.max(1);
        slots.saturating_add(percent(slots, self.ahead_percent).max(1))
    }

    /// The same for tenants that have slots already.
    fn capacity_for_more(&self, slots: u32) -> u32 {
        match percent(slots, self.reserve_percent) {
            0 => self.capacity(slots),
            reserve => slots.saturating_sub(reserve),
        }
    }
}

impl Held {
    fn tasks(&self) -> u32 {
        self.offered.saturating_add(self.in_slots)
    }
}

impl Queue {
    /// How many more tasks may be offered, whoever's they are.
    #[must_use]
    pub fn free(&self, policy: &Policy) -> u32 {
        policy.capacity_for_more(self.slots).saturating_sub(self.all_held())
    }

    fn all_held(&self) -> u32 {
        self.held.values().fold(0, |sum: u32, held| sum.saturating_add(held.tasks()))
    }

    fn held(&self, tenant: TenantId) -> u32 {
        self.held.get(&tenant).map_or(0, Held::tasks)
    }

    /// Whether anybody wants more than was admitted.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting.values().any(|backlog| !backlog.tasks.is_empty() || !backlog.runs.is_empty())
    }
}

impl Round<'_> {
    /// Gives away what is free of a queue: what was admitted leaves `waiting` and is held or
    /// open from now on.
    pub fn admit(&self, queue: &mut Queue, open: &mut OpenRuns) -> Vec<Admitted> {
        let weight = |tenant| self.terms(tenant).weight;
        let active = queue.held.keys().chain(queue.waiting.keys()).copied().collect();
        queue.shares.advance(self.now, &queue.held, &active, weight);
        let mut admitted = Vec::new();
        while let Some((tenant, unit)) = self.next(queue, open) {
            let backlog = queue.waiting.entry(tenant).or_default();
            match unit {
                Admitted::Task(_) => drop(backlog.tasks.pop_front()),
                Admitted::Run(run) => {
                    if let Some(at) = backlog.runs.iter().position(|queued| queued.run == run)
                        && let Some(queued) = backlog.runs.remove(at)
                    {
                        open.add(tenant, &queued.limits);
                    }
                }
            }
            queue.held.entry(tenant).or_default().offered += 1;
            queue.shares.charge(tenant, self.policy.task_ms_min, weight(tenant));
            admitted.push(unit);
        }
        admitted
    }

    fn terms(&self, tenant: TenantId) -> Terms {
        self.terms.get(&tenant).copied().unwrap_or_default()
    }

    /// Whose turn it is, and with what.
    fn next(&self, queue: &Queue, open: &OpenRuns) -> Option<(TenantId, Admitted)> {
        let all = queue.all_held();
        if all >= self.policy.capacity(queue.slots) {
            return None;
        }
        let is_scarce = all >= self.policy.capacity_for_more(queue.slots);
        let may = |tenant: TenantId| {
            let held = queue.held(tenant);
            let more = self.terms(tenant).slots_max.is_none_or(|most| held < most);
            more && (held == 0 || !is_scarce)
        };
        let candidates = queue.waiting.iter().filter(|(tenant, _)| may(**tenant));
        let candidates = candidates
            .filter_map(|(tenant, backlog)| Some((*tenant, backlog.first(*tenant, open)?)));
        candidates
            .min_by_key(|(tenant, _)| (queue.shares.of(*tenant), queue.held(*tenant), *tenant))
    }
}

impl Backlog {
    /// The most urgent of what is allowed. A started run is gone on with before another one of
    /// the same priority is begun.
    fn first(&self, tenant: TenantId, open: &OpenRuns) -> Option<Admitted> {
        let task = self.tasks.front();
        let run = self.runs.iter().find(|queued| open.allows(tenant, &queued.limits).is_ok());
        match (task, run) {
            (Some(task), Some(run)) if run.priority > task.priority => Some(Admitted::Run(run.run)),
            (Some(task), _) => Some(Admitted::Task(*task)),
            (None, Some(run)) => Some(Admitted::Run(run.run)),
            (None, None) => None,
        }
    }
}

fn percent(of: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(of) * u64::from(percent) / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
