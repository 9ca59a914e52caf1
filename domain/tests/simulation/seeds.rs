//! Thousands of worlds, on all processors.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use flowcell_domain::run::{Event, RunState, Task, TaskState};
use flowcell_domain::time::Timestamp;

use crate::fault::{Fault, Faults};
use crate::world::{END, Program, World};

const SEEDS: u64 = 4_000;

/// The world of a seed, when it is over.
pub(crate) fn world(seed: u64, program: Program, is_traced: bool) -> World {
    let mut world = World::new(seed, Faults::of(seed));
    (world.program, world.is_traced) = (program, is_traced);
    world.go();
    world
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// What has to occur for the simulation to be worth something.
#[derive(Default)]
struct Seen {
    ends: HashMap<RunState, u64>,
    struck: BTreeMap<Fault, u64>,
    replanned: u64,
    suspended: u64,
    unpaused: u64,
    kept: u64,
    attempts_max: u32,
    pauses_max: u32,
}

impl Seen {
    fn add(&mut self, world: &World) {
        for (fault, times) in &world.faults.struck {
            *self.struck.entry(*fault).or_default() += times;
        }
        for run in &world.database.runs {
            *self.ends.entry(run.state).or_default() += 1;
            let was_replaced = |task: &Task| task.state == TaskState::Replaced;
            let went_on = run.state == RunState::Completed && run.tasks.iter().any(was_replaced);
            self.replanned += u64::from(went_on);
            let was_kept = |task: &Task| task.state == TaskState::Done && task.attempt == 0;
            let took_over = run.state == RunState::Completed && run.tasks.iter().any(was_kept);
            self.kept += u64::from(took_over);
            for task in &run.tasks {
                self.attempts_max = self.attempts_max.max(task.attempt);
                self.pauses_max = self.pauses_max.max(task.pauses);
            }
        }
        let count = |is: fn(&&Event) -> bool| {
            world.database.logs.iter().flatten().filter(is).count() as u64
        };
        self.suspended += count(|event| matches!(event, Event::RunSuspended { .. }));
        self.unpaused += count(|event| matches!(event, Event::RunUnpaused { .. }));
    }
}

#[test]
fn every_invariant_holds_under_every_fault() {
    if let Some(seed) = number("FLOWCELL_SIMULATION_SEED") {
        let world = world(seed, Program::default(), true);
        if let Some(violation) = world.violation {
            panic!("seed {seed}: {violation}");
        }
        return;
    }
    let seeds = number("FLOWCELL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (next, seen) = (AtomicU64::new(0), Mutex::new(Seen::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let world = world(seed, Program::default(), false);
                    assert!(
                        world.violation.is_none(),
                        "seed {seed} breaks {}; replay it with FLOWCELL_SIMULATION_SEED={seed}",
                        world.violation.as_ref().unwrap()
                    );
                    seen.lock().unwrap().add(&world);
                }
            });
        }
    });
    if seeds >= SEEDS {
        everything_occurred(&seen.into_inner().unwrap());
    }
}

fn everything_occurred(seen: &Seen) {
    for state in RunState::ALL.into_iter().filter(|state| state.is_terminal()) {
        let times = seen.ends.get(&state).copied().unwrap_or(0);
        assert!(times > 50, "{state:?} is hardly reached: {:?}", seen.ends);
    }
    for fault in Fault::ALL {
        let times = seen.struck.get(fault).copied().unwrap_or(0);
        assert!(times > 200, "{fault:?} hardly struck: {:?}", seen.struck);
    }
    assert!(seen.replanned > 100, "hardly any run went on under another plan: {}", seen.replanned);
    assert!(seen.attempts_max >= 4, "no task was ever retried much");
    assert!(seen.pauses_max >= 2, "no task asked twice");
    assert!(seen.kept > 100, "hardly any rerun was completed: {}", seen.kept);
    assert!(seen.unpaused > 1_000, "hardly any pause was over: {}", seen.unpaused);
    assert!(seen.suspended > 1_000, "runs were hardly suspended: {}", seen.suspended);
}

#[test]
fn without_faults_every_run_completes_in_one_attempt_per_task_and_question() {
    for seed in 0..50 {
        let mut world = World::new(seed, Faults::none());
        world.replans = false;
        for run in world.first.iter_mut().chain(&mut world.database.runs) {
            run.deadline = Timestamp(END);
        }
        world.go();
        assert!(world.violation.is_none(), "seed {seed}: {:?}", world.violation);
        for run in &world.database.runs {
            assert_eq!(run.state, RunState::Completed, "seed {seed}");
            let tried = run.tasks.iter().filter(|task| task.attempt > 0);
            let mut tries = tried.map(|task| task.attempt - task.pauses);
            assert!(tries.all(|tries| tries == 1), "seed {seed}: {run:?}");
        }
    }
}
