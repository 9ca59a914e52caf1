//! Clients that ask for runs, and what schedulers do by the clock.

use flowcell_domain::failure::{Failure, FailureKind};
use flowcell_domain::id::WorkerEpoch;
use flowcell_domain::limits::LEASE;
use flowcell_domain::run::{Command, Lease, RunState, Task};
use flowcell_domain::time::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::database::SLOTS_MAX;
use crate::fault::Fault;
use crate::invariant::{Invariant, hold};
use crate::world::{RUNS, TENANTS, World};

/// Who wants a run, and asks with the same key until it is answered.
#[derive(Debug)]
pub(crate) struct Client {
    asks: i64,
    pub(crate) is_answered: bool,
}

impl Client {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { asks: rng.random_range(0..5_000), is_answered: false }
    }
}

impl World {
    pub(crate) fn tick_clients(&mut self) {
        for run in 0..RUNS {
            if self.clients[run].is_answered || self.clients[run].asks > self.now {
                continue;
            }
            self.clients[run].asks = self.now + 1_000;
            self.post(run);
        }
    }

    fn post(&mut self, run: usize) {
        let is_down = self.database.down_until > self.now;
        let dies = self.strikes(Fault::ApiDiesBeforeCommit, 0.2);
        if !is_down && !dies && self.database.stored[run] == 0 {
            self.database.stored[run] += 1;
        } else if self.program.commits_first && (is_down || dies) {
            return;
        }
        if self.strikes(Fault::ApiDiesBeforeAnswer, 0.2) {
            return;
        }
        self.clients[run].is_answered = true;
        let stored = self.database.stored[run] == 1;
        let checked = hold(Invariant::AnAcceptedRunIsStored, stored, || format!("run {run}"));
        self.check(checked);
    }

    pub(crate) fn tick_scheduler(&mut self) {
        self.tick_decisions();
        self.tick_pauses();
        for run in 0..RUNS {
            if self.database.runs[run].state == RunState::Queued {
                let _ = self.command(run, &Command::Start { skip: Vec::new() });
            }
            let _ = self.command(run, &Command::Wake);
            let expired: Vec<_> =
                self.leased(run).into_iter().filter(|held| self.is_over_due(held)).collect();
            for (task, attempt, lease) in expired {
                self.lose(run, task, attempt, lease.worker);
            }
        }
        for tenant in 0..TENANTS {
            self.admit(tenant);
        }
    }

    fn is_over_due(&self, (_, _, lease): &(u32, u32, Lease)) -> bool {
        let seen = self.beats.get(&lease.worker).copied().unwrap_or(0);
        Timestamp(self.now).since(Timestamp(seen.max(lease.since.0))) >= LEASE
    }

    /// Tasks with a lease, their attempts and leases.
    pub(crate) fn leased(&self, run: usize) -> Vec<(u32, u32, Lease)> {
        let tasks = self.database.runs[run].tasks.iter();
        tasks.filter_map(|task| Some((task.index, task.attempt, task.lease?))).collect()
    }

    pub(crate) fn lose(&mut self, run: usize, task: u32, attempt: u32, worker: WorkerEpoch) {
        let failure = Failure::new(FailureKind::WorkerLost, "the worker was lost");
        let _ = self.command(run, &Command::Lost { task, attempt, worker, failure });
    }

    /// A round of admission: what was offered and is lost again, and more up to the tenant's slots.
    fn admit(&mut self, tenant: usize) {
        for run in (0..RUNS).filter(|run| run % TENANTS == tenant) {
            let now = Timestamp(self.now);
            let mut free = SLOTS_MAX.saturating_sub(self.database.held(tenant));
            let mut admit = |task: &&Task| {
                let admitted = task.dispatched.is_some() || free > 0;
                free = free.saturating_sub(usize::from(task.dispatched.is_none()));
                admitted
            };
            let offerable =
                self.database.runs[run].tasks.iter().filter(|task| task.is_offerable(now));
            let tasks: Vec<u32> =
                offerable.filter(|task| admit(task)).map(|task| task.index).collect();
            // Some of it now, and the rest another time.
            if !tasks.is_empty() && self.rng.random_bool(0.7) {
                let _ = self.command(run, &Command::Offer { tasks });
            }
        }
    }
}
