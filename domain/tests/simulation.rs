//! A seeded simulation of a cluster around the real state machine: messages are lost, repeated and
//! reordered, workers die in the middle of their work, replies get lost after the commit. Some
//! attempts ask a person, who takes anything up to hours and may say it twice.
//!
//! Asserted for every seed: every run ends; no finished task runs again; no result counts twice;
//! no task starts before all that it needs is settled; a run is suspended exactly while nothing
//! but a person can move it, and does not time out meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use flowcell_domain::failure::{Failure, FailureKind};
use flowcell_domain::id::{RunId, WorkerEpoch};
use flowcell_domain::limits::{HEARTBEAT, LEASE};
use flowcell_domain::retry::RetryPolicy;
use flowcell_domain::run::{
    Command, Effect, Event, Outcome, PlannedTask, Refused, Run, RunState, Task, TaskState, decide,
};
use flowcell_domain::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

const RUNS: usize = 4;
const WORKERS: usize = 3;
const SLOTS: usize = 2;
/// Virtual end of the simulation: far beyond every deadline and every person's patience.
const END: i64 = 36_000_000;

#[derive(Clone, Debug)]
enum Message {
    Offer { run: usize, task: u32 },
    Claim { run: usize, task: u32, worker: usize, epoch: WorkerEpoch },
    Assigned { run: usize, task: u32, attempt: u32, worker: usize, epoch: WorkerEpoch },
    Report { run: usize, task: u32, attempt: u32, epoch: WorkerEpoch, worker: usize, end: End },
    Confirmed { run: usize, task: u32, attempt: u32, worker: usize, epoch: WorkerEpoch },
    Stop { run: usize, task: u32, attempt: u32, epoch: WorkerEpoch },
    Answered { run: usize, task: u32 },
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed,
    Asks,
}

#[derive(Debug)]
struct Work {
    ends: i64,
    end: End,
    next_report: i64,
}

#[derive(Debug)]
struct Worker {
    epoch: WorkerEpoch,
    dead_until: i64,
    work: BTreeMap<(usize, u32, u32), Work>,
    seen: i64,
}

struct World {
    rng: StdRng,
    now: i64,
    first: Vec<Run>,
    runs: Vec<Run>,
    logs: Vec<Vec<Event>>,
    /// What a person has decided by when.
    decided: BTreeMap<(usize, u32, u32), i64>,
    workers: Vec<Worker>,
    flying: Vec<(i64, Message)>,
    beats: HashMap<WorkerEpoch, i64>,
    faults: bool,
}

/// Everything that a task needs, however far.
fn before(tasks: &[Task], task: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut stack = tasks[task as usize].depends_on.clone();
    while let Some(need) = stack.pop() {
        if found.insert(need) {
            stack.extend(&tasks[need as usize].depends_on);
        }
    }
    found
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let runs: Vec<Run> = (0..RUNS)
            .map(|index| {
                let tasks = rng.random_range(1..9u32);
                let needs = (0..tasks)
                    .map(|task| (0..task).filter(|_| rng.random_bool(0.4)).collect())
                    .collect();
                let retry = RetryPolicy {
                    attempts_max: rng.random_range(2..40),
                    component_errors: rng.random_bool(0.5),
                    ..RetryPolicy::default()
                };
                let id = RunId(Uuid::from_u128(index as u128 + 1));
                Run::queued(id, needs, Timestamp(rng.random_range(20_000..1_200_000)), retry)
            })
            .collect();
        let mut world = Self {
            now: 0,
            logs: vec![Vec::new(); runs.len()],
            first: runs.clone(),
            decided: BTreeMap::new(),
            runs,
            workers: Vec::new(),
            flying: Vec::new(),
            beats: HashMap::new(),
            faults: true,
            rng,
        };
        for _ in 0..WORKERS {
            let epoch = world.new_epoch();
            world.workers.push(Worker { epoch, dead_until: 0, work: BTreeMap::new(), seen: 0 });
        }
        world
    }

    fn new_epoch(&mut self) -> WorkerEpoch {
        WorkerEpoch(Uuid::from_u128(self.rng.random()))
    }

    /// The network: loses one message in seven, repeats one in seven, delays each at random.
    fn send(&mut self, message: Message) {
        let copies = match self.rng.random_range(0..7) {
            0 if self.faults => 0,
            1 if self.faults => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let slowest = if self.rng.random_bool(0.1) { 4_000 } else { 50 };
            let delay = self.rng.random_range(1..slowest);
            self.flying.push((self.now + delay, message.clone()));
        }
    }

    /// What the engine does: decide, commit, then act on the effects.
    fn command(&mut self, run: usize, command: &Command) -> Result<(), Refused> {
        let decision = decide(&self.runs[run], command, Timestamp(self.now))?;
        for event in &decision.events {
            self.check(run, event);
            self.runs[run].apply(event);
            self.logs[run].push(event.clone());
            if let Event::TaskPaused { task, attempt } = event {
                self.ask(run, *task, *attempt);
            }
        }
        self.check_rest(run);
        // The scheduler may die between its commit and the effects.
        if self.faults && self.rng.random_bool(0.05) {
            return Ok(());
        }
        for effect in decision.effects {
            match effect {
                Effect::Dispatch { task, .. } => self.send(Message::Offer { run, task }),
                Effect::Stop { task, attempt, worker } => {
                    self.send(Message::Stop { run, task, attempt, epoch: worker });
                }
            }
        }
        Ok(())
    }

    /// Offers what may be offered, some of it now and the rest another time, as admission does.
    fn offer(&mut self, run: usize) {
        let now = Timestamp(self.now);
        let offerable = self.runs[run].tasks.iter().filter(|task| task.is_offerable(now));
        let mut tasks: Vec<u32> = offerable.map(|task| task.index).collect();
        tasks.retain(|_| self.rng.random_bool(0.7));
        let _ = self.command(run, &Command::Offer { tasks });
    }

    /// A person reads it, at some time, and says what is to be done, sometimes twice.
    fn ask(&mut self, run: usize, task: u32, attempt: u32) {
        let slowest = if self.rng.random_bool(0.05) { 2_000_000 } else { 20_000 };
        let at = self.now + self.rng.random_range(1..slowest);
        self.decided.insert((run, task, attempt), at);
        for _ in 0..self.rng.random_range(0..3) {
            self.flying.push((at, Message::Answered { run, task }));
        }
    }

    /// After every decision: a run rests exactly while only a person can move it.
    fn check_rest(&self, run: usize) {
        let run = &self.runs[run];
        let any = |state| run.tasks.iter().any(|task| task.state == state);
        let moves = run.tasks.iter().any(|task| task.state.is_moving());
        let rests = any(TaskState::Paused) && !moves;
        assert_eq!(run.state == RunState::Suspended, rests, "{run:?}");
        assert_eq!(run.suspended.is_some(), rests, "{run:?}");
    }

    /// The promises, checked at every single event.
    fn check(&self, run: usize, event: &Event) {
        let before = &self.runs[run];
        assert!(!before.state.is_terminal(), "an ended run moved: {event:?}");
        match event {
            Event::TaskLeased { task, attempt, .. } => {
                let found = before.task(*task).unwrap();
                assert_eq!(found.state, TaskState::Ready, "only a ready task is handed out");
                assert_eq!(found.attempt + 1, *attempt, "attempt numbers never repeat");
                for need in &found.depends_on {
                    assert!(before.task(*need).unwrap().state.is_settled(), "started too early");
                }
                let finished = self.logs[run]
                    .iter()
                    .any(|e| matches!(e, Event::TaskDone { task: done, .. } if done == task));
                assert!(!finished, "a finished task runs again");
            }
            Event::Replanned { replaced, .. } => {
                for task in replaced {
                    let state = before.task(*task).unwrap().state;
                    assert_ne!(state, TaskState::Done, "a finished task is planned anew");
                }
            }
            Event::TaskDone { task, .. } => {
                let earlier = self.logs[run]
                    .iter()
                    .any(|e| matches!(e, Event::TaskDone { task: done, .. } if done == task));
                assert!(!earlier, "a result counts twice");
            }
            Event::RunTimedOut => {
                assert_ne!(before.state, RunState::Suspended, "a person was not waited for");
            }
            _ => {}
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Offer { run, task } => {
                let worker = self.rng.random_range(0..WORKERS);
                let free = self.workers[worker].work.len() < SLOTS;
                if self.workers[worker].dead_until <= self.now && free {
                    let epoch = self.workers[worker].epoch;
                    self.send(Message::Claim { run, task, worker, epoch });
                } else {
                    // The queue redelivers what nobody acknowledged.
                    self.flying.push((self.now + 500, Message::Offer { run, task }));
                }
            }
            Message::Claim { run, task, worker, epoch } => {
                let command = Command::Claim { task, worker: epoch };
                if self.command(run, &command).is_ok()
                    && let Some(found) = self.runs[run].task(task)
                    && found.state == TaskState::Leased
                {
                    let attempt = found.attempt;
                    self.send(Message::Assigned { run, task, attempt, worker, epoch });
                }
            }
            Message::Assigned { run, task, attempt, worker, epoch } => {
                let ends = self.now + self.rng.random_range(1..6_000);
                let asks = self.rng.random_bool(0.08);
                let fails = self.faults && self.rng.random_bool(0.1);
                let end = match (asks, fails) {
                    (true, _) => End::Asks,
                    (false, true) => End::Failed,
                    (false, false) => End::Done,
                };
                let holder = &mut self.workers[worker];
                if holder.epoch == epoch && holder.dead_until <= self.now && holder.seen < self.now
                {
                    // A worker keeps one entry per attempt: a repeated reply starts nothing.
                    let work = Work { ends, end, next_report: ends };
                    holder.work.entry((run, task, attempt)).or_insert(work);
                    let began = Command::Began { task, attempt, worker: epoch };
                    let _ = self.command(run, &began);
                }
            }
            Message::Report { run, task, attempt, epoch, worker, end } => {
                let outcome = match end {
                    End::Done if self.faults && self.rng.random_bool(0.1) => {
                        self.replanned(run, task)
                    }
                    End::Done => Outcome::Done { skip: Vec::new() },
                    End::Asks => Outcome::Paused,
                    End::Failed => {
                        let kind = FailureKind::Component { exception: "ValueError".into() };
                        Outcome::Failed(Failure::new(kind, "no"))
                    }
                };
                // Whatever the answer, the worker may forget the attempt.
                let _ =
                    self.command(run, &Command::Finish { task, attempt, worker: epoch, outcome });
                self.send(Message::Confirmed { run, task, attempt, worker, epoch });
            }
            Message::Confirmed { run, task, attempt, worker, epoch } => {
                if self.workers[worker].epoch == epoch {
                    self.workers[worker].work.remove(&(run, task, attempt));
                }
            }
            Message::Answered { run, task } => self.answer(run, task),
            Message::Stop { run, task, attempt, epoch } => {
                for worker in &mut self.workers {
                    if worker.epoch == epoch {
                        worker.work.remove(&(run, task, attempt));
                    }
                }
            }
        }
    }

    /// The result proved to be live for a task that needs it, so both become one, along with all
    /// that stands between them.
    fn replanned(&self, run: usize, task: u32) -> Outcome {
        let tasks = &self.runs[run].tasks;
        let Some(last) = tasks.iter().rfind(|other| other.depends_on.contains(&task)) else {
            return Outcome::Done { skip: Vec::new() };
        };
        let leads = |from: u32, to: u32| before(tasks, to).contains(&from);
        let joined: Vec<u32> = tasks
            .iter()
            .map(|other| other.index)
            .filter(|&other| {
                let after = other == task || leads(task, other);
                after && (other == last.index || leads(other, last.index))
            })
            .collect();
        let new = u32::try_from(tasks.len()).unwrap();
        let is_joined = |index: &u32| joined.contains(index);
        let mut planned: Vec<PlannedTask> = Vec::new();
        let mut needs: Vec<u32> = Vec::new();
        for other in tasks {
            if is_joined(&other.index) {
                needs.extend(other.depends_on.iter().filter(|need| !is_joined(need)));
            } else if other.depends_on.iter().any(is_joined) {
                let kept = other.depends_on.iter().filter(|need| !is_joined(need)).copied();
                let depends_on = kept.chain([new]).collect();
                planned.push(PlannedTask { task: other.index, cell: String::new(), depends_on });
            }
        }
        planned.push(PlannedTask { task: new, cell: String::new(), depends_on: needs });
        let kind = FailureKind::ValueNotPortable { value_type: "Model".into() };
        let failure = Failure::new(kind, "it cannot travel");
        Outcome::Replanned { failure, replaced: joined, planned, skip: Vec::new() }
    }

    fn tick_workers(&mut self) {
        for index in 0..WORKERS {
            if self.workers[index].dead_until > self.now {
                continue;
            }
            if self.faults && self.rng.random_bool(0.004) {
                let epoch = self.new_epoch();
                let worker = &mut self.workers[index];
                worker.work.clear();
                worker.epoch = epoch;
                worker.dead_until = self.now + self.rng.random_range(100..30_000);
                continue;
            }
            let (now, epoch) = (self.now, self.workers[index].epoch);
            let mut reports = Vec::new();
            for (&(run, task, attempt), work) in &mut self.workers[index].work {
                if work.ends <= now && work.next_report <= now {
                    work.next_report = now + 1_000;
                    let end = work.end;
                    reports.push(Message::Report { run, task, attempt, epoch, worker: index, end });
                }
            }
            for report in reports {
                self.send(report);
            }
            if !self.faults || self.rng.random_bool(0.85) {
                self.beat(index);
            }
        }
    }

    /// A heartbeat: renews the worker's lease, and loses what it should hold but does not.
    fn beat(&mut self, index: usize) {
        let epoch = self.workers[index].epoch;
        self.beats.insert(epoch, self.now);
        let held: HashSet<_> = self.workers[index].work.keys().copied().collect();
        for run in 0..self.runs.len() {
            let orphans: Vec<(u32, u32)> = self.runs[run]
                .tasks
                .iter()
                .filter(|task| !held.contains(&(run, task.index, task.attempt)))
                .filter_map(|task| Some((task.index, task.attempt, task.lease?)))
                .filter(|(_, _, lease)| {
                    lease.worker == epoch && Timestamp(self.now).since(lease.since) >= LEASE
                })
                .map(|(task, attempt, _)| (task, attempt))
                .collect();
            for (task, attempt) in orphans {
                self.lose(run, task, attempt, epoch);
            }
        }
    }

    fn lose(&mut self, run: usize, task: u32, attempt: u32, worker: WorkerEpoch) {
        let failure = Failure::new(FailureKind::WorkerLost, "the worker was lost");
        let _ = self.command(run, &Command::Lost { task, attempt, worker, failure });
    }

    /// What a scheduler does when it hears of a decision: nothing, if there is none in the store.
    fn answer(&mut self, run: usize, task: u32) {
        let attempt = self.runs[run].task(task).unwrap().attempt;
        if self.decided.get(&(run, task, attempt)).is_some_and(|at| *at <= self.now) {
            let _ = self.command(run, &Command::Answer { tasks: vec![task] });
        }
    }

    fn tick_scheduler(&mut self) {
        let due = self.decided.iter().filter(|(_, at)| **at <= self.now);
        let due: Vec<(usize, u32, u32)> = due.map(|(asked, _)| *asked).collect();
        for (run, task, attempt) in due {
            self.answer(run, task);
            let asked = self.runs[run].task(task).unwrap();
            if asked.state != TaskState::Paused || asked.attempt != attempt {
                self.decided.remove(&(run, task, attempt));
            }
        }
        for run in 0..self.runs.len() {
            if self.runs[run].state == RunState::Queued {
                let _ = self.command(run, &Command::Start { skip: Vec::new() });
            }
            if self.faults && self.rng.random_bool(0.000_5) {
                let _ = self.command(run, &Command::Cancel);
            }
            let _ = self.command(run, &Command::Wake);
            self.offer(run);
            let expired: Vec<(u32, u32, WorkerEpoch)> = self.runs[run]
                .tasks
                .iter()
                .filter_map(|task| Some((task.index, task.attempt, task.lease?)))
                .filter(|(_, _, lease)| {
                    let seen = self.beats.get(&lease.worker).copied().unwrap_or(0);
                    Timestamp(self.now).since(Timestamp(seen.max(lease.since.0))) >= LEASE
                })
                .map(|(task, attempt, lease)| (task, attempt, lease.worker))
                .collect();
            for (task, attempt, worker) in expired {
                self.lose(run, task, attempt, worker);
            }
        }
    }

    fn go(&mut self) {
        let step = i64::try_from((HEARTBEAT / 4).as_millis()).unwrap();
        while self.now < END && self.runs.iter().any(|run| !run.state.is_terminal()) {
            self.tick_scheduler();
            self.tick_workers();
            let until = self.now + step;
            loop {
                self.flying.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
                match self.flying.last() {
                    Some((at, _)) if *at <= until => {}
                    _ => break,
                }
                let (at, message) = self.flying.pop().unwrap();
                self.now = self.now.max(at);
                self.deliver(message);
            }
            self.now = until;
        }
    }
}

fn ends_well(seed: u64) -> World {
    let mut world = World::new(seed);
    world.go();
    for ((run, log), first) in world.runs.iter().zip(&world.logs).zip(&world.first) {
        assert!(run.state.is_terminal(), "seed {seed}: run {} never ended: {run:?}", run.id);
        let ends = log
            .iter()
            .filter(|event| {
                matches!(
                    event,
                    Event::RunCompleted
                        | Event::RunFailed { .. }
                        | Event::RunCancelled
                        | Event::RunTimedOut
                )
            })
            .count();
        assert_eq!(ends, 1, "seed {seed}: a run ends once");
        assert!(run.tasks.iter().all(|task| task.lease.is_none()), "seed {seed}: a lease leaked");
        if run.state == RunState::Completed {
            assert!(run.tasks.iter().all(|task| task.state.is_settled()));
        } else {
            assert!(run.tasks.iter().all(|task| task.state.is_terminal()), "seed {seed}");
        }
        // The log alone gives the same state: replay is the same function.
        let mut replayed = first.clone();
        log.iter().for_each(|event| replayed.apply(event));
        assert_eq!(&replayed, run, "seed {seed}: replay differs");
    }
    world
}

#[test]
fn every_run_ends_and_nothing_counts_twice() {
    let mut ends: HashMap<RunState, u32> = HashMap::new();
    let mut replanned = 0;
    let (mut attempts_max, mut pauses_max, mut suspended) = (0, 0, 0);
    for seed in 0..2_000 {
        let world = ends_well(seed);
        for run in &world.runs {
            pauses_max = pauses_max.max(run.tasks.iter().map(|t| t.pauses).max().unwrap_or(0));
            *ends.entry(run.state).or_default() += 1;
            let was_replaced = |task: &Task| task.state == TaskState::Replaced;
            let completed = run.state == RunState::Completed;
            replanned += u32::from(completed && run.tasks.iter().any(was_replaced));
            attempts_max = attempts_max.max(run.tasks.iter().map(|t| t.attempt).max().unwrap_or(0));
        }
        let rests = |event: &&Event| matches!(event, Event::RunSuspended { .. });
        suspended += world.logs.iter().flatten().filter(rests).count();
    }
    // The simulation is only worth something while it reaches every kind of end and real retries.
    for state in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
        assert!(
            ends.get(&state).copied().unwrap_or(0) > 20,
            "{state:?} is hardly reached: {ends:?}"
        );
    }
    assert!(replanned > 100, "hardly any run went on under another plan: {replanned}");
    assert!(attempts_max >= 4, "no task was ever retried much");
    assert!(pauses_max >= 2, "no task asked twice");
    assert!(suspended > 1_000, "runs were hardly suspended: {suspended}");
}

#[test]
fn without_faults_every_run_completes_in_one_attempt_per_task_and_question() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.faults = false;
        for run in &mut world.runs {
            run.deadline = Timestamp(END);
        }
        world.go();
        for run in &world.runs {
            assert_eq!(run.state, RunState::Completed, "seed {seed}");
            let tries = run.tasks.iter().map(|task| task.attempt - task.pauses);
            assert!(tries.into_iter().all(|tries| tries == 1), "seed {seed}: {run:?}");
        }
    }
}

#[test]
fn a_deadline_beats_everything_but_a_cancel() {
    let mut run = Run::queued(
        RunId(Uuid::from_u128(1)),
        vec![vec![]],
        Timestamp(0) + Duration::from_secs(5),
        RetryPolicy::default(),
    );
    for event in decide(&run, &Command::Start { skip: Vec::new() }, Timestamp(0)).unwrap().events {
        run.apply(&event);
    }
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let claim = Command::Claim { task: 0, worker };
    let late = decide(&run, &claim, Timestamp(5_000)).unwrap();
    assert_eq!(late.events.last(), Some(&Event::RunTimedOut));
    let cancelled = decide(&run, &Command::Cancel, Timestamp(5_000)).unwrap();
    assert_eq!(cancelled.events.last(), Some(&Event::RunCancelled));
}

#[test]
fn waiting_for_a_person_takes_nothing_from_the_deadline() {
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let mut run = Run::queued(
        RunId(Uuid::from_u128(1)),
        vec![vec![], vec![0]],
        Timestamp(5_000),
        RetryPolicy::default(),
    );
    let step = |run: &mut Run, command: Command, now: i64| {
        let events = decide(run, &command, Timestamp(now)).unwrap().events;
        events.iter().for_each(|event| run.apply(event));
        events
    };
    step(&mut run, Command::Start { skip: Vec::new() }, 0);
    step(&mut run, Command::Claim { task: 0, worker }, 0);
    let asks = Command::Finish { task: 0, attempt: 1, worker, outcome: Outcome::Paused };
    step(&mut run, asks.clone(), 1_000);
    assert_eq!((run.state, run.tasks[0].state), (RunState::Suspended, TaskState::Paused));
    assert_eq!(decide(&run, &asks, Timestamp(1_000)), Err(Refused::AlreadyDone));
    // Long after its deadline nothing happens to it, whatever the clock says.
    assert_eq!(step(&mut run, Command::Wake, 900_000), []);
    let answer = Command::Answer { tasks: vec![0] };
    step(&mut run, answer.clone(), 901_000);
    assert_eq!((run.state, run.deadline), (RunState::Running, Timestamp(905_000)));
    assert_eq!(decide(&run, &answer, Timestamp(901_000)), Err(Refused::AlreadyDone));
    let late = decide(&run, &Command::Wake, Timestamp(905_000)).unwrap();
    assert_eq!(late.events.last(), Some(&Event::RunTimedOut));
    step(&mut run, Command::Claim { task: 0, worker }, 902_000);
    assert_eq!(run.tasks[0].attempt, 2);
}

#[test]
fn a_suspended_run_can_be_cancelled() {
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let retry = RetryPolicy::default();
    let mut run = Run::queued(RunId(Uuid::from_u128(1)), vec![vec![]], Timestamp(5_000), retry);
    let asks = Command::Finish { task: 0, attempt: 1, worker, outcome: Outcome::Paused };
    let claim = Command::Claim { task: 0, worker };
    for command in [Command::Start { skip: Vec::new() }, claim, asks, Command::Cancel] {
        let events = decide(&run, &command, Timestamp(0)).unwrap().events;
        events.iter().for_each(|event| run.apply(event));
    }
    assert_eq!((run.state, run.tasks[0].state), (RunState::Cancelled, TaskState::Cancelled));
    let answer = Command::Answer { tasks: vec![0] };
    assert_eq!(decide(&run, &answer, Timestamp(0)), Err(Refused::RunEnded));
}
