//! Workers: they hold attempts, report until they are confirmed, and beat.

use std::collections::{BTreeMap, HashSet};

use flowcell_domain::id::WorkerEpoch;
use flowcell_domain::limits::LEASE;
use flowcell_domain::run::Command;
use flowcell_domain::time::Timestamp;
use rand::RngExt;

use crate::fault::Fault;
use crate::message::{Attempt, End, Message};
use crate::world::{RUNS, WORKERS, World};

const SLOTS: usize = 2;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) epoch: WorkerEpoch,
    pub(crate) work: BTreeMap<Attempt, Work>,
    pub(crate) cut_off_until: i64,
    dead_until: i64,
    frozen_until: i64,
    /// How far its clock is wrong.
    skew: i64,
    /// When a heartbeat was last answered.
    answered: i64,
}

/// An attempt as its worker knows it, by the worker's clock.
#[derive(Debug)]
pub(crate) struct Work {
    ends: i64,
    end: End,
    next_report: i64,
}

impl Worker {
    pub(crate) fn new(epoch: WorkerEpoch, skew: i64) -> Self {
        let work = BTreeMap::new();
        Self { epoch, work, cut_off_until: 0, dead_until: 0, frozen_until: 0, skew, answered: 0 }
    }

    pub(crate) fn is_free(&self, now: i64) -> bool {
        self.is_awake(now) && self.work.len() < SLOTS
    }

    fn is_awake(&self, now: i64) -> bool {
        self.dead_until <= now && self.frozen_until <= now
    }
}

impl World {
    /// A worker gets an attempt.
    pub(crate) fn assigned(&mut self, attempt: Attempt, worker: usize, epoch: WorkerEpoch) {
        let (run, task, number) = attempt;
        if self.workers[worker].epoch != epoch || self.workers[worker].dead_until > self.now {
            return;
        }
        if self.workers[worker].frozen_until > self.now {
            let later = self.workers[worker].frozen_until;
            self.flying.push((later, Message::Assigned { attempt, worker, epoch }));
            return;
        }
        if self.poison[run] == task && self.strikes(Fault::PoisonTask, 1.0) {
            self.kill(worker);
            return;
        }
        let end = self.end();
        let hangs = self.strikes(Fault::ContainerHangs, 0.01);
        let takes = if hangs { i64::MAX / 2 } else { self.rng.random_range(1..6_000) };
        let holder = &mut self.workers[worker];
        let ends = self.now + holder.skew + takes;
        // A worker keeps one entry per attempt: a repeated reply starts nothing.
        holder.work.entry(attempt).or_insert(Work { ends, end, next_report: ends });
        let began = Command::Began { task, attempt: number, worker: epoch };
        let _ = self.command(run, &began);
    }

    fn end(&mut self) -> End {
        if self.rng.random_bool(0.08) {
            return End::Asks;
        }
        let ends = [
            (Fault::ComponentFails, 0.05, End::Failed),
            (Fault::OutOfMemory, 0.01, End::OutOfMemory),
            (Fault::StartFailed, 0.05, End::StartFailed),
        ];
        for (fault, rate, end) in ends {
            if self.strikes(fault, rate) {
                return end;
            }
        }
        End::Done
    }

    pub(crate) fn tick_workers(&mut self) {
        for index in 0..WORKERS {
            if !self.workers[index].is_awake(self.now) {
                continue;
            }
            if self.strikes(Fault::WorkerKilled, 0.004) {
                self.kill(index);
                continue;
            }
            if self.strikes(Fault::WorkerFrozen, 0.002) {
                self.workers[index].frozen_until = self.now + self.rng.random_range(1_000..60_000);
                continue;
            }
            if self.strikes(Fault::WorkerCutOff, 0.002) {
                self.workers[index].cut_off_until = self.now + self.rng.random_range(1_000..60_000);
            }
            // One that wakes up speaks before it has heard that it was given up.
            self.report(index);
            self.beat(index);
        }
    }

    fn kill(&mut self, index: usize) {
        let epoch = self.new_epoch();
        let back = self.now + self.rng.random_range(100..30_000);
        let worker = &mut self.workers[index];
        *worker = Worker { dead_until: back, answered: back, ..Worker::new(epoch, worker.skew) };
    }

    fn report(&mut self, index: usize) {
        let (epoch, clock) = (self.workers[index].epoch, self.now + self.workers[index].skew);
        let mut reports = Vec::new();
        for (&attempt, work) in &mut self.workers[index].work {
            if work.ends <= clock && work.next_report <= clock {
                work.next_report = clock + 1_000;
                reports.push(Message::Report { attempt, epoch, worker: index, end: work.end });
            }
        }
        for report in reports {
            self.send(report);
        }
    }

    /// A heartbeat: renews the worker's lease, and loses what it should hold but does not. One
    /// that is not answered for a whole lease ends its own cells.
    fn beat(&mut self, index: usize) {
        let epoch = self.workers[index].epoch;
        let is_alone = self.workers[index].cut_off_until > self.now
            || self.broker_down_until > self.now
            || self.database.down_until > self.now;
        if is_alone || self.strikes(Fault::MessageLost, 0.15) {
            let unanswered = Timestamp(self.now).since(Timestamp(self.workers[index].answered));
            if unanswered >= LEASE {
                self.workers[index].work.clear();
            }
            return;
        }
        self.workers[index].answered = self.now;
        self.beats.insert(epoch, self.now);
        let held: HashSet<Attempt> = self.workers[index].work.keys().copied().collect();
        let now = Timestamp(self.now);
        for run in 0..RUNS {
            let leased = self.leased(run).into_iter();
            let orphans: Vec<_> = leased
                .filter(|(task, attempt, lease)| {
                    let is_its = lease.worker == epoch && now.since(lease.since) >= LEASE;
                    is_its && !held.contains(&(run, *task, *attempt))
                })
                .collect();
            for (task, attempt, _) in orphans {
                self.lose(run, task, attempt, epoch);
            }
        }
    }
}
