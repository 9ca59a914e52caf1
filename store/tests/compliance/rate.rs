//! How fast runs are committed. Not a check: run with
//! `cargo nextest run -p flowcell-store --release --run-ignored only rate --no-capture`.

use std::time::Instant;

use domain::run::{Command, decide};
use store::Transition;
use testkit::database::Kind;

use crate::fixture::{Fixture, T0, began, claim, finish, result, transition, worker};

const RUNS: usize = 200;

/// The ten transitions of a run of three tasks, and its submission.
fn commands() -> Vec<Command> {
    let of_task = |task| [claim(task, worker(1)), began(task, worker(1)), finish(task, worker(1))];
    std::iter::once(Command::Start { skip: vec![] }).chain((0..3).flat_map(of_task)).collect()
}

async fn measure(kind: Kind, batch: usize, at_once: usize) {
    let f = Fixture::new(kind).await;
    let owner = f.owner("a").await;
    let started = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(owner.submit().await);
    }
    let submitted = started.elapsed();
    let started = Instant::now();
    let groups: Vec<Vec<_>> = runs.chunks(batch).map(<[_]>::to_vec).collect();
    let mut tasks = tokio::task::JoinSet::new();
    let per_task = groups.len().div_ceil(at_once);
    for groups in groups.chunks(per_task) {
        let (groups, engine) = (groups.to_vec(), f.store.engine());
        tasks.spawn(async move {
            for group in groups {
                for command in commands() {
                    let mut changes: Vec<Transition> = Vec::new();
                    for run in &group {
                        let record = engine.load(*run).await.unwrap().unwrap();
                        let decision = decide(&record.run, &command, T0).unwrap();
                        let mut change = transition(&record, &decision, T0);
                        if let Command::Finish { task, .. } = command {
                            change.results = vec![result(task, 500)];
                        }
                        changes.push(change);
                    }
                    engine.commit_batch(changes).await.unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
    let committed = started.elapsed();
    let rate = |n: usize, time: std::time::Duration| n as f64 / time.as_secs_f64();
    println!(
        "{kind:?}, {batch} per commit, {at_once} at once: {:.0} submissions/s; {:.0} transitions/s, \
         {:.0} runs/s (load, decide, commit)",
        rate(RUNS, submitted),
        rate(RUNS * commands().len(), committed),
        rate(RUNS, committed),
    );
    f.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rate() {
    for kind in Kind::ALL {
        for (batch, at_once) in [(1, 1), (1, 4), (20, 1), (20, 4)] {
            measure(kind, batch, at_once).await;
        }
    }
}
