//! The world: clients, workers, schedulers and what is under way between them.

use std::collections::{BTreeMap, HashMap};

use flowcell_domain::id::{RunId, WorkerEpoch};
use flowcell_domain::limits::HEARTBEAT;
use flowcell_domain::retry::RetryPolicy;
use flowcell_domain::run::{Command, Decision, Refused, Run, TaskState, decide};
use flowcell_domain::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::database::Database;
use crate::fault::{Fault, Faults};
use crate::invariant::{Checked, Invariant, Violation, at_end, hold};
use crate::message::{Attempt, Message};
use crate::scheduler::Client;
use crate::worker::Worker;

pub(crate) const RUNS: usize = 4;
pub(crate) const WORKERS: usize = 3;
pub(crate) const TENANTS: usize = 2;

/// Nothing new goes wrong from here on.
const CALM: i64 = 1_500_000;

/// Far beyond every deadline and every person's patience: a run that is open now never ends.
pub(crate) const END: i64 = 36_000_000;

pub(crate) type Decide = fn(&Run, &Command, Timestamp) -> Result<Decision, Refused>;

/// What is simulated; tests put something broken in its place.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) decide: Decide,
    /// A decision about an older state is not committed.
    pub(crate) is_guarded: bool,
    /// Clients hear of their runs after the commit.
    pub(crate) commits_first: bool,
    /// A claim of what is not offered is refused.
    pub(crate) knows_offers: bool,
}

impl Default for Program {
    fn default() -> Self {
        Self { decide, is_guarded: true, commits_first: true, knows_offers: true }
    }
}

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) faults: Faults,
    pub(crate) program: Program,
    pub(crate) now: i64,
    pub(crate) first: Vec<Run>,
    pub(crate) database: Database,
    pub(crate) clients: Vec<Client>,
    /// What a person has decided by when.
    pub(crate) decided: BTreeMap<Attempt, i64>,
    /// Until when somebody wants each run to be paused.
    pub(crate) paused_until: Vec<i64>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) flying: Vec<(i64, Message)>,
    pub(crate) beats: HashMap<WorkerEpoch, i64>,
    pub(crate) broker_down_until: i64,
    /// The task of each run that ends its worker, when there is one.
    pub(crate) poison: Vec<u32>,
    /// Whether results may prove to be live.
    pub(crate) replans: bool,
    /// The first invariant that did not hold.
    pub(crate) violation: Option<Violation>,
    pub(crate) is_traced: bool,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let first: Vec<Run> = (0..RUNS).map(|index| queued(&mut rng, index)).collect();
        let mut world = Self {
            faults,
            program: Program::default(),
            now: 0,
            database: Database::new(&first),
            clients: (0..RUNS).map(|_| Client::new(&mut rng)).collect(),
            poison: (0..RUNS).map(|_| rng.random_range(0..12)).collect(),
            first,
            decided: BTreeMap::new(),
            paused_until: vec![0; RUNS],
            workers: Vec::new(),
            flying: Vec::new(),
            beats: HashMap::new(),
            broker_down_until: 0,
            replans: true,
            violation: None,
            is_traced: false,
            rng,
        };
        for _ in 0..WORKERS {
            let skewed = world.strikes(Fault::ClockSkewed, 0.5);
            let skew = if skewed { world.rng.random_range(-3_600_000..3_600_000) } else { 0 };
            let epoch = world.new_epoch();
            world.workers.push(Worker::new(epoch, skew));
        }
        world
    }

    pub(crate) fn new_epoch(&mut self) -> WorkerEpoch {
        WorkerEpoch(Uuid::from_u128(self.rng.random()))
    }

    pub(crate) fn strikes(&mut self, fault: Fault, rate: f64) -> bool {
        self.faults.strike(&mut self.rng, fault, rate)
    }

    /// Keeps the first thing that is wrong.
    pub(crate) fn check(&mut self, checked: Checked) {
        if let (None, Err(violation)) = (&self.violation, checked) {
            self.violation = Some(violation);
        }
    }

    /// Until every run has ended, or an invariant is broken.
    pub(crate) fn go(&mut self) {
        let step = i64::try_from((HEARTBEAT / 4).as_millis()).unwrap();
        while self.now < END && self.violation.is_none() && !self.is_over() {
            if self.now >= CALM {
                self.faults.stop();
            }
            self.tick_clients();
            self.tick_faults();
            self.tick_scheduler();
            self.tick_workers();
            self.deliver_until(self.now + step);
            self.now += step;
        }
        for run in 0..RUNS {
            let stored = self.clients[run].is_answered && self.database.stored[run] == 1;
            let what = || format!("run {run} is stored {} times", self.database.stored[run]);
            let accepted = hold(Invariant::AnAcceptedRunIsStored, stored, what);
            let ended =
                at_end(&self.first[run], &self.database.logs[run], &self.database.runs[run]);
            self.check(accepted.and(ended));
        }
    }

    fn is_over(&self) -> bool {
        let ended = self.database.runs.iter().all(|run| run.state.is_terminal());
        ended && self.clients.iter().all(|client| client.is_answered)
    }

    /// What befalls everybody.
    fn tick_faults(&mut self) {
        if self.strikes(Fault::BrokerWiped, 0.002) {
            self.flying.clear();
        }
        if self.strikes(Fault::BrokerDown, 0.002) {
            self.broker_down_until = self.now + self.rng.random_range(3_000..60_000);
        }
        if self.strikes(Fault::DatabaseDown, 0.002) {
            self.database.down_until = self.now + self.rng.random_range(1_000..30_000);
        }
        if self.strikes(Fault::CommitsLost, 0.002) {
            let commits = self.rng.random_range(1..4);
            self.database.lose(commits);
        }
        for run in 0..RUNS {
            if self.strikes(Fault::Cancelled, 0.000_5) {
                self.flying.push((self.now + 1, Message::Cancel { run }));
            }
            if self.strikes(Fault::Paused, 0.001) {
                self.pause(run);
            }
        }
    }
}

fn queued(rng: &mut StdRng, index: usize) -> Run {
    let tasks = rng.random_range(1..9u32);
    let needs =
        (0..tasks).map(|task| (0..task).filter(|_| rng.random_bool(0.4)).collect()).collect();
    let retry = RetryPolicy {
        attempts_max: rng.random_range(2..40),
        component_errors: rng.random_bool(0.5),
        ..RetryPolicy::default()
    };
    let id = RunId(Uuid::from_u128(index as u128 + 1));
    let mut run = Run::queued(id, needs, Timestamp(rng.random_range(20_000..1_200_000)), retry);
    if rng.random_bool(0.2) {
        rerun(rng, &mut run);
    }
    run
}

/// Some of it was finished by an earlier run.
fn rerun(rng: &mut StdRng, run: &mut Run) {
    for index in 0..run.tasks.len() {
        let is_done = |need: &u32| run.task(*need).unwrap().state == TaskState::Done;
        if run.tasks[index].depends_on.iter().all(is_done) && rng.random_bool(0.6) {
            run.tasks[index].state = TaskState::Done;
        }
    }
}
