//! A random walk of a run: what is stored is always what is in memory.

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::run::{Command, Outcome, Run, decide};
use domain::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::AttemptFigures;

use crate::fixture::{Fixture, T0, result, task, transition, worker};

on_both! { what_is_stored_is_what_is_in_memory }

const RUNS: u64 = 12;
const STEPS: u32 = 60;

async fn what_is_stored_is_what_is_in_memory(f: &Fixture) {
    let owner = f.owner("a").await;
    for seed in 0..RUNS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut new = owner.new_run();
        new.tasks = (0..rng.random_range(1..6u32))
            .map(|n| {
                let needs: Vec<u32> = (0..n).filter(|_| rng.random_bool(0.4)).collect();
                task(&format!("cell-{n}"), &needs)
            })
            .collect();
        let id = owner.tenant.submit(new).await.unwrap().run;
        let mut run = f.load(id).await.run;
        let (mut now, mut version) = (T0, 0);
        for step in 0..STEPS {
            now = now + Duration::from_millis(rng.random_range(0..400));
            let command = command(&mut rng, &run, now);
            let record = f.load(id).await;
            let Ok(decision) = decide(&record.run, &command, now) else { continue };
            let mut change = transition(&record, &decision, now);
            if let Command::Finish { task, attempt, .. } = &command {
                change.results = vec![result(*task, 10)];
                let container = Some("c".to_owned());
                let known =
                    AttemptFigures { task: *task, attempt: *attempt, container, figures: None };
                change.figures = vec![known];
            }
            f.store.engine().commit(change).await.unwrap();
            decision.events.iter().for_each(|event| run.apply(event));
            version += 1;
            let stored = f.load(id).await;
            assert_eq!(stored.run, run, "seed {seed}, step {step}, {command:?}");
            assert_eq!(stored.version, version);
        }
        check_attempts(f, &owner, &run).await;
    }
}

/// Every attempt that was counted has a row, and only the current one may be open.
async fn check_attempts(f: &Fixture, owner: &crate::fixture::Owner, run: &Run) {
    let view = owner.tenant.run(run.id).await.unwrap();
    for (view, task) in view.tasks.iter().zip(&run.tasks) {
        let numbers: Vec<u32> = view.attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!(numbers, (1..=task.attempt).collect::<Vec<_>>());
        for attempt in &view.attempts {
            let open = task.lease.is_some() && attempt.attempt == task.attempt;
            assert_eq!(attempt.ended.is_none(), open);
        }
    }
    let held: usize = run.tasks.iter().filter(|task| task.lease.is_some()).count();
    let mut recorded = 0;
    for n in 1..4 {
        let attempts = f.store.engine().attempts_of(worker(n)).await.unwrap();
        recorded += attempts.iter().filter(|attempt| attempt.run == run.id).count();
    }
    assert_eq!(recorded, held);
}

fn command(rng: &mut StdRng, run: &Run, now: Timestamp) -> Command {
    let task = rng.random_range(0..u32::try_from(run.tasks.len()).unwrap());
    let found = run.task(task).unwrap();
    let attempt = found.attempt;
    let holder = found.lease.map_or(worker(1), |lease| lease.worker);
    let failure = |kind| Failure::new(kind, format!("at {now}"));
    match rng.random_range(0..100) {
        0..20 => Command::Start { skip: vec![] },
        20..45 => Command::Claim { task, worker: worker(rng.random_range(1..4)) },
        45..60 => Command::Began { task, attempt, worker: holder },
        60..80 => {
            let skip = if rng.random_bool(0.2) { vec![task + 1] } else { vec![] };
            Command::Finish { task, attempt, worker: holder, outcome: Outcome::Done { skip } }
        }
        80..88 => {
            let failure = failure(FailureKind::StartFailed);
            let outcome = Outcome::Failed(failure);
            Command::Finish { task, attempt, worker: holder, outcome }
        }
        88..94 => {
            let failure = failure(FailureKind::WorkerLost);
            Command::Lost { task, attempt, worker: holder, failure }
        }
        94..96 => Command::Wake,
        96..98 => Command::Offer { tasks: vec![task] },
        98 => Command::Reject { task, failure: failure(FailureKind::InputInvalid) },
        _ => Command::Cancel,
    }
}
