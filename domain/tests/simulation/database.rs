//! What is committed, and the one way to commit: decide, check the version, apply.

use flowcell_domain::run::{
    Command, Decision, Effect, Event, Outcome, Refused, Run, Task, TaskState,
};
use flowcell_domain::time::Timestamp;
use rand::RngExt;

use crate::fault::Fault;
use crate::invariant::{Invariant, at_event, at_report, at_rest, hold};
use crate::message::Message;
use crate::world::{RUNS, TENANTS, WORKERS, World};

/// Most slots of a tenant: fewer than its two runs could use.
pub(crate) const SLOTS_MAX: usize = 2;

/// Commits that a failover may take back.
const COMMITS_KEPT: usize = 4;

pub(crate) struct Database {
    pub(crate) runs: Vec<Run>,
    pub(crate) logs: Vec<Vec<Event>>,
    versions: Vec<u64>,
    /// How often a client's request was committed.
    pub(crate) stored: Vec<u32>,
    pub(crate) down_until: i64,
    /// The last commits: the run, its state before, its log's length before.
    undo: Vec<(usize, Run, usize)>,
}

/// Why a command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The state machine refused it: it is settled.
    Refused,
    /// It was not answered: it is to come again.
    Unanswered,
}

impl Database {
    pub(crate) fn new(first: &[Run]) -> Self {
        Self {
            runs: first.to_vec(),
            logs: vec![Vec::new(); first.len()],
            versions: vec![0; first.len()],
            stored: vec![0; first.len()],
            down_until: 0,
            undo: Vec::new(),
        }
    }

    /// Tasks of a tenant that are in a slot.
    fn in_slots(&self, tenant: usize) -> usize {
        let is = |task: &&Task| matches!(task.state, TaskState::Leased | TaskState::Running);
        self.tasks_of(tenant).filter(is).count()
    }

    /// The same with those that are offered: what admission counts.
    pub(crate) fn held(&self, tenant: usize) -> usize {
        let is = |task: &&Task| task.state == TaskState::Ready && task.dispatched.is_some();
        self.in_slots(tenant) + self.tasks_of(tenant).filter(is).count()
    }

    fn tasks_of(&self, tenant: usize) -> impl Iterator<Item = &Task> {
        let runs = (0..RUNS).filter(move |run| run % TENANTS == tenant);
        runs.flat_map(|run| &self.runs[run].tasks)
    }

    /// A failover to a standby that had not got the last commits.
    pub(crate) fn lose(&mut self, commits: usize) {
        for _ in 0..commits {
            let Some((run, state, length)) = self.undo.pop() else { return };
            self.runs[run] = state;
            self.logs[run].truncate(length);
            self.versions[run] += 1;
        }
    }
}

impl World {
    /// What the engine does: decide, commit, then act on the effects.
    pub(crate) fn command(&mut self, run: usize, command: &Command) -> Result<(), Refusal> {
        let is_down = self.database.down_until > self.now || self.database.stored[run] == 0;
        if is_down || self.strikes(Fault::SchedulerDiesBeforeCommit, 0.03) {
            return Err(Refusal::Unanswered);
        }
        let seen = self.database.versions[run];
        let mut decided = self.decide(run, command);
        if self.strikes(Fault::TwoSchedulersDecide, 0.05) {
            let rival = self.rival(command);
            if let Ok(decision) = self.decide(run, &rival) {
                let effects = self.commit(run, &rival, decision);
                self.act(run, effects);
            }
        }
        if self.program.is_guarded && self.database.versions[run] != seen {
            decided = self.decide(run, command);
        }
        let effects = match decided {
            Ok(decision) => self.commit(run, command, decision),
            Err(_) => return Err(Refusal::Refused),
        };
        if !self.strikes(Fault::SchedulerDiesAfterCommit, 0.05) {
            self.act(run, effects);
        }
        Ok(())
    }

    fn decide(&self, run: usize, command: &Command) -> Result<Decision, Refused> {
        (self.program.decide)(&self.database.runs[run], command, Timestamp(self.now))
    }

    /// What another scheduler decides about at the same time: mostly the same message, come twice.
    fn rival(&mut self, command: &Command) -> Command {
        let other = self.workers[self.rng.random_range(0..WORKERS)].epoch;
        match command {
            Command::Claim { task, .. } => Command::Claim { task: *task, worker: other },
            command => command.clone(),
        }
    }

    fn commit(&mut self, run: usize, command: &Command, decision: Decision) -> Vec<Effect> {
        let reported = match command {
            Command::Finish { task, worker, outcome: Outcome::Done { .. }, .. } => {
                at_report(&self.database.runs[run], &decision.events, *task, *worker)
            }
            _ => Ok(()),
        };
        let before = (run, self.database.runs[run].clone(), self.database.logs[run].len());
        self.database.undo.push(before);
        if self.database.undo.len() > COMMITS_KEPT {
            self.database.undo.remove(0);
        }
        for event in decision.events {
            self.apply(run, event);
        }
        self.database.versions[run] += 1;
        self.check(reported);
        let checked = at_rest(&self.database.runs[run]);
        self.check(checked);
        decision.effects
    }

    fn apply(&mut self, run: usize, event: Event) {
        if self.is_traced {
            eprintln!("{:>9} ms  run {run}  {event:?}", self.now);
        }
        let database = &mut self.database;
        let checked = at_event(&database.runs[run], &database.logs[run], &event);
        database.runs[run].apply(&event);
        let in_slots = database.in_slots(run % TENANTS);
        let is_lease = matches!(event, Event::TaskLeased { .. });
        let capped =
            hold(Invariant::ATenantKeepsToItsSlots, !is_lease || in_slots <= SLOTS_MAX, || {
                format!("{in_slots} slots after {event:?}")
            });
        let paused = match &event {
            Event::TaskPaused { task, attempt } => Some((run, *task, *attempt)),
            _ => None,
        };
        database.logs[run].push(event);
        self.check(checked.and(capped));
        if let Some(attempt) = paused {
            self.ask(attempt);
        }
    }

    fn act(&mut self, run: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dispatch { task, .. } => self.send(Message::Offer { run, task }),
                Effect::Stop { task, attempt, worker } => {
                    self.send(Message::Stop { attempt: (run, task, attempt), epoch: worker });
                }
            }
        }
    }
}
