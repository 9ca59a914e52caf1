//! A thousand readers of one run.

use std::sync::Arc;

use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, unless_one_fails};
use crate::subscriber::{Subscriber, Way};

const EARLY: usize = 800;
const MIDDLE: usize = 100;
const LATE: usize = 100;
const NUMBERS: u64 = 60;
const HALF: u64 = NUMBERS / 2;

/// Readers that are there from the beginning, that come in the middle, and that come when the
/// run has ended and its log is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Stage {
    Empty,
    Half,
    Archived,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscribers_of_one_run_see_every_event_once_in_order() {
    let cluster = Cluster::start().await;
    cluster.make_flow().await;
    let run = cluster.run().await;
    let before = cluster.api_kib();
    let (stage, stages) = watch::channel(Stage::Empty);
    let all_read_first = Arc::new(Barrier::new(EARLY + 1));
    let mut readers = JoinSet::new();
    for index in 0..EARLY + MIDDLE + LATE {
        let mut reader = Subscriber::new(&cluster, run, Way::of(index), index as u64);
        let (mut stages, barrier) = (stages.clone(), Arc::clone(&all_read_first));
        readers.spawn(async move {
            let begins = match index {
                0..EARLY => Stage::Empty,
                EARLY.. if index < EARLY + MIDDLE => Stage::Half,
                _ => Stage::Archived,
            };
            stages.wait_for(|stage| *stage >= begins).await.unwrap();
            if begins == Stage::Empty {
                reader.read(1).await;
                // Everybody is connected at the same time.
                barrier.wait().await;
            }
            reader.read_to_end(NUMBERS).await;
            (reader.position, reader.connections)
        });
    }
    cluster.publish(run, 1..2, 0).await;
    unless_one_fails(&mut readers, all_read_first.wait()).await;
    let grown = cluster.api_kib().saturating_sub(before);
    eprintln!("{} KiB a subscriber of one run", grown / EARLY as u64);
    for first in (2..=HALF).step_by(5) {
        cluster.publish(run, first..(first + 5).min(HALF + 1), 0).await;
    }
    stage.send_replace(Stage::Half);
    for first in (HALF + 1..=NUMBERS).step_by(5) {
        cluster.publish(run, first..(first + 5).min(NUMBERS + 1), 0).await;
    }
    cluster.end(run).await;
    cluster.archive(run).await;
    stage.send_replace(Stage::Archived);
    let mut connections = 0;
    while let Some(reader) = readers.join_next().await {
        let (position, connected) = reader.unwrap();
        assert_eq!(position, NUMBERS + 1);
        connections += connected;
    }
    assert!(connections > 1_500, "hardly anybody was cut off: {connections}");
}
