//! The cluster while time passes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use domain::admission::{
    Admitted, Held, LimitKey, OpenRuns, Queue, QueuedRun, ReadyTask, Round, RunLimit, Terms,
};
use domain::id::{RunId, TenantId, WorkerEpoch};
use domain::retry::RetryPolicy;
use domain::run::{Command, Effect, Event, Outcome, Run, decide};
use domain::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::report::{Measured, Report};
use crate::scenario::{Scenario, Tenant};

/// Of all that a tenant wants, the most that a round looks at.
const LOOKED_AT_MAX: u32 = 64;

/// Longest time between two rounds: what was held is charged as it goes.
const ROUND_MS: i64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival { tenant: usize, at_once: u32 },
    Finished { run: RunId, task: u32 },
    Look,
}

/// A run that was accepted.
struct Accepted {
    tenant: usize,
    at: i64,
    began: bool,
    run: Option<Run>,
}

pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    rng: StdRng,
    now: i64,
    happenings: BinaryHeap<Reverse<(i64, u64, Happening)>>,
    order: u64,
    runs: HashMap<RunId, Accepted>,
    queued: Vec<VecDeque<RunId>>,
    ready: Vec<VecDeque<ReadyTask>>,
    open: Vec<u32>,
    /// Tasks that are offered and in no slot yet, first come, first served.
    offers: VecDeque<(RunId, u32)>,
    free: u32,
    queue: Queue,
    terms: BTreeMap<TenantId, Terms>,
    measured: Vec<Measured>,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let tenants = scenario.tenants.len();
        let terms = |(index, tenant): (usize, &Tenant)| {
            (id(index), Terms { weight: tenant.weight, slots_max: tenant.slots_max })
        };
        let mut world = Self {
            rng: StdRng::seed_from_u64(scenario.seed),
            now: 0,
            happenings: BinaryHeap::new(),
            order: 0,
            runs: HashMap::new(),
            queued: vec![VecDeque::new(); tenants],
            ready: vec![VecDeque::new(); tenants],
            open: vec![0; tenants],
            offers: VecDeque::new(),
            free: scenario.slots,
            queue: Queue { slots: scenario.slots, ..Queue::default() },
            terms: scenario.tenants.iter().enumerate().map(terms).collect(),
            measured: vec![Measured::default(); tenants],
            scenario,
        };
        for (index, tenant) in scenario.tenants.iter().enumerate() {
            let at = i64::from(tenant.arrivals.from_s) * 1_000;
            world.plan(at, Happening::Arrival { tenant: index, at_once: tenant.arrivals.at_once });
        }
        world.plan(ROUND_MS, Happening::Look);
        world
    }

    pub(crate) fn run(mut self) -> Report {
        let end = i64::from(self.scenario.seconds) * 1_000;
        while let Some(Reverse((at, _, happening))) = self.happenings.pop() {
            self.pass(at.min(end));
            if at > end {
                break;
            }
            match happening {
                Happening::Arrival { tenant, at_once } => self.arrive(tenant, at_once),
                Happening::Finished { run, task } => self.finish(run, task),
                Happening::Look => self.plan(at + ROUND_MS, Happening::Look),
            }
            self.round();
        }
        Report::of(self.scenario, &self.measured)
    }

    /// Time passes: what is in a slot is paid for, and who wants more than it has is entitled.
    fn pass(&mut self, to: i64) {
        let passed = u64::try_from(to - self.now).unwrap_or(0);
        let wants = |index: &usize| self.wants(*index);
        let wanting: Vec<usize> = (0..self.measured.len()).filter(wants).collect();
        let weights: u64 = wanting.iter().map(|index| u64::from(self.weight(*index))).sum();
        for measured in &mut self.measured {
            measured.slot_ms += passed * u64::from(measured.in_slots);
        }
        if wanting.len() > 1 {
            for index in wanting {
                let weight = u64::from(self.weight(index));
                let slots = u64::from(self.scenario.slots);
                if let Some(measured) = self.measured.get_mut(index) {
                    measured.contended_ms += passed * u64::from(measured.in_slots);
                    measured.entitled_ms += passed * slots * weight / weights.max(1);
                }
            }
        }
        self.now = to;
    }

    fn wants(&self, index: usize) -> bool {
        let some = |queue: Option<bool>| queue.unwrap_or(false);
        some(self.ready.get(index).map(|tasks| !tasks.is_empty()))
            || some(self.queued.get(index).map(|runs| !runs.is_empty()))
    }

    fn weight(&self, index: usize) -> u32 {
        self.scenario.tenants.get(index).map_or(1, |tenant| tenant.weight)
    }

    fn arrive(&mut self, tenant: usize, at_once: u32) {
        let Some(set) = self.scenario.tenants.get(tenant) else { return };
        for _ in 0..at_once {
            let run = RunId(Uuid::from_u128(self.rng.random()));
            let accepted = Accepted { tenant, at: self.now, began: false, run: None };
            self.runs.insert(run, accepted);
            if let Some(queue) = self.queued.get_mut(tenant) {
                queue.push_back(run);
            }
        }
        if set.arrivals.every_ms > 0 {
            // Times between random arrivals: exponential.
            let uniform: f64 = self.rng.random_range(f64::EPSILON..1.0);
            #[allow(clippy::cast_possible_truncation, reason = "milliseconds, rounded")]
            let pause = (-uniform.ln() * f64::from(set.arrivals.every_ms)).ceil() as i64;
            self.plan(self.now + pause.max(1), Happening::Arrival { tenant, at_once: 1 });
        }
    }

    /// A round of admission, as a scheduler does it.
    fn round(&mut self) {
        let looked_at = self.scenario.policy.capacity(self.scenario.slots).min(LOOKED_AT_MAX);
        let looked_at = usize::try_from(looked_at).unwrap_or(usize::MAX);
        for index in 0..self.measured.len() {
            let backlog = self.queue.waiting.entry(id(index)).or_default();
            let (Some(ready), Some(queued)) = (self.ready.get(index), self.queued.get(index))
            else {
                continue;
            };
            let limit = self.scenario.tenants.get(index).and_then(|tenant| tenant.runs_max);
            let limit = limit.map(|most| RunLimit { key: LimitKey::Tenant, most });
            let queued_run = |run: &RunId| QueuedRun {
                run: *run,
                priority: 0,
                limits: limit.clone().into_iter().collect(),
            };
            backlog.tasks = ready.iter().take(looked_at).copied().collect();
            backlog.runs = queued.iter().take(looked_at).map(queued_run).collect();
        }
        self.queue
            .waiting
            .retain(|_, backlog| !backlog.tasks.is_empty() || !backlog.runs.is_empty());
        self.queue.held.retain(|_, held| *held != Held::default());
        let mut open = OpenRuns::default();
        for (index, runs) in self.open.iter().enumerate() {
            open.note(id(index), LimitKey::Tenant, *runs);
        }
        let round =
            Round { now: Timestamp(self.now), policy: self.scenario.policy, terms: &self.terms };
        for unit in round.admit(&mut self.queue, &mut open) {
            match unit {
                Admitted::Task(task) => self.offer(task.run, task.task),
                Admitted::Run(run) => self.start(run),
            }
        }
        self.fill_slots();
    }

    fn start(&mut self, run: RunId) {
        let Some(accepted) = self.runs.get_mut(&run) else { return };
        let tenant = accepted.tenant;
        let cells = self.scenario.tenants.get(tenant).map_or(1, |set| set.cells.count);
        let needs = (0..cells).map(|cell| cell.checked_sub(1).into_iter().collect()).collect();
        let deadline = Timestamp(i64::MAX);
        accepted.run = Some(Run::queued(run, needs, deadline, RetryPolicy::default()));
        if let Some(queue) = self.queued.get_mut(tenant) {
            // Near the front: rounds look at no others.
            queue.iter().position(|queued| *queued == run).map(|at| queue.remove(at));
        }
        if let Some(open) = self.open.get_mut(tenant) {
            *open += 1;
        }
        for event in self.command(run, &Command::Start { skip: Vec::new() }) {
            if let Event::TaskReady { task, .. } = event {
                self.offer(run, task);
            }
        }
    }

    fn offer(&mut self, run: RunId, task: u32) {
        let Some(tenant) = self.runs.get(&run).map(|accepted| accepted.tenant) else { return };
        if let Some(ready) = self.ready.get_mut(tenant) {
            ready.retain(|waiting| (waiting.run, waiting.task) != (run, task));
        }
        self.command(run, &Command::Offer { tasks: vec![task] });
    }

    /// Workers take offers in order.
    fn fill_slots(&mut self) {
        while self.free > 0
            && let Some((run, task)) = self.offers.pop_front()
        {
            self.free -= 1;
            self.command(run, &Command::Claim { task, worker: WORKER });
            let Some(accepted) = self.runs.get_mut(&run) else { continue };
            let (tenant, since) = (accepted.tenant, self.now - accepted.at);
            let is_first = !std::mem::replace(&mut accepted.began, true);
            let held = self.queue.held.entry(id(tenant)).or_default();
            held.offered = held.offered.saturating_sub(1);
            held.in_slots += 1;
            if let Some(measured) = self.measured.get_mut(tenant) {
                measured.in_slots += 1;
                if is_first {
                    measured.waits.push(since);
                }
            }
            let length = self.length(tenant);
            self.plan(self.now + length, Happening::Finished { run, task });
        }
    }

    fn length(&mut self, tenant: usize) -> i64 {
        let Some(cells) = self.scenario.tenants.get(tenant).map(|set| set.cells) else { return 1 };
        let spread = i64::from(cells.ms) * i64::from(cells.spread_percent) / 100;
        let off = if spread > 0 { self.rng.random_range(-spread..=spread) } else { 0 };
        (i64::from(cells.ms) + off).max(1)
    }

    fn finish(&mut self, run: RunId, task: u32) {
        self.free += 1;
        let Some((tenant, at)) = self.runs.get(&run).map(|run| (run.tenant, run.at)) else {
            return;
        };
        if let Some(measured) = self.measured.get_mut(tenant) {
            measured.in_slots -= 1;
        }
        if let Some(held) = self.queue.held.get_mut(&id(tenant)) {
            held.in_slots = held.in_slots.saturating_sub(1);
        }
        let outcome = Outcome::Done { skip: Vec::new() };
        let finish = Command::Finish { task, attempt: 1, worker: WORKER, outcome };
        for event in self.command(run, &finish) {
            match event {
                Event::TaskReady { task, .. } => {
                    if let Some(ready) = self.ready.get_mut(tenant) {
                        ready.push_back(ReadyTask { run, task, priority: 0 });
                    }
                }
                Event::RunCompleted => {
                    self.runs.remove(&run);
                    if let Some(open) = self.open.get_mut(tenant) {
                        *open -= 1;
                    }
                    if let Some(measured) = self.measured.get_mut(tenant) {
                        measured.latencies.push(self.now - at);
                    }
                }
                _ => {}
            }
        }
    }

    /// What the engine does: decide, apply, act.
    fn command(&mut self, run: RunId, command: &Command) -> Vec<Event> {
        let now = Timestamp(self.now);
        let Some(state) = self.runs.get_mut(&run).and_then(|accepted| accepted.run.as_mut()) else {
            return Vec::new();
        };
        let Ok(decision) = decide(state, command, now) else { return Vec::new() };
        decision.events.iter().for_each(|event| state.apply(event));
        for effect in decision.effects {
            if let Effect::Dispatch { task, .. } = effect {
                self.offers.push_back((run, task));
            }
        }
        decision.events
    }

    fn plan(&mut self, at: i64, happening: Happening) {
        self.order += 1;
        self.happenings.push(Reverse((at, self.order, happening)));
    }
}

const WORKER: WorkerEpoch = WorkerEpoch(Uuid::nil());

fn id(index: usize) -> TenantId {
    TenantId(Uuid::from_u128(index as u128 + 1))
}
