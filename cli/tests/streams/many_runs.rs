//! A thousand runs with a reader each.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, unless_one_fails};
use crate::subscriber::{Subscriber, Way};

const RUNS: usize = 1_000;
const NUMBERS: u64 = 20;

/// Requests of this test that go on at once besides its streams.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_runs_with_a_subscriber_each_see_every_event_once_in_order() {
    let cluster = Cluster::start().await;
    cluster.make_flow().await;
    let runs = futures::stream::iter(0..RUNS).map(|_| cluster.run()).buffer_unordered(AT_ONCE);
    let runs: Vec<_> = runs.collect().await;
    let before = cluster.api_kib();
    let all_read_first = Arc::new(Barrier::new(RUNS + 1));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (index, run) in runs.into_iter().enumerate() {
        let mut reader = Subscriber::new(&cluster, run, Way::of(index), index as u64);
        let barrier = Arc::clone(&all_read_first);
        tasks.spawn(async move {
            reader.read(1).await;
            barrier.wait().await;
            reader.read_to_end(NUMBERS).await;
            assert_eq!(reader.position, NUMBERS + 1);
        });
        let (cluster, turns) = (Arc::clone(&cluster), Arc::clone(&turns));
        tasks.spawn(async move {
            let turn = turns.acquire().await.unwrap();
            cluster.publish(run, 1..2, 0).await;
            drop(turn);
            let _turn = turns.acquire().await.unwrap();
            cluster.publish(run, 2..NUMBERS + 1, 0).await;
            cluster.end(run).await;
            cluster.archive(run).await;
        });
    }
    unless_one_fails(&mut tasks, all_read_first.wait()).await;
    let grown = cluster.api_kib().saturating_sub(before);
    eprintln!("{} KiB a run and its subscriber", grown / RUNS as u64);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}
