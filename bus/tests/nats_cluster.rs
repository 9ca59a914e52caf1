//! Three servers that are one: what is acknowledged is there although one of them goes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

extern crate flowcell_bus as bus;

use std::collections::BTreeSet;
use std::time::Duration;

use bus::nats::Settings;
use bus::{Bus, Error, Queue};
use bytes::Bytes;
use domain::id::RunId;
use testkit::nats::Server;
use tokio::time::Instant;
use uuid::Uuid;

const SURELY: Duration = Duration::from_secs(60);
const MESSAGES: usize = 60;
/// What a server that was away has to catch up on: so much that somebody looks meanwhile.
const MISSED: usize = 60;
const MISSED_BYTES: usize = 256 * 1024;
/// Each look is on any of three servers.
const LOOKS: usize = 12;

struct Servers {
    servers: Vec<Server>,
    bus: Bus,
    run: RunId,
}

impl Servers {
    /// Of which we are told so many; the others they tell us of themselves.
    async fn start(told: usize) -> Self {
        let servers = Server::cluster(3).await.unwrap();
        let urls: Vec<String> = servers.iter().take(told).map(Server::url).collect();
        let settings = Settings { replicas: 3, ..Settings::new(urls.join(",")) };
        // They choose who leads first.
        let bus = until_it_works(|| bus::nats(settings.clone())).await;
        Self { servers, bus, run: RunId(Uuid::now_v7()) }
    }

    /// Enqueues and appends these, each until it is acknowledged.
    async fn send(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (id, body) = (format!("m{number}"), Bytes::from(number.to_string()));
            until_it_works(|| self.bus.enqueue(&Queue::Runs, &id, body.clone())).await;
            let entry = || vec![(id.clone(), body.clone())];
            until_it_works(|| self.bus.append(self.run, entry())).await;
        }
    }

    /// Everything is there, once, and the log in its order.
    async fn has_all(&self) {
        let until = Instant::now() + SURELY;
        let mut consumer = until_it_works(|| self.bus.consumer(&Queue::Runs)).await;
        let mut found = BTreeSet::new();
        while found.len() < MESSAGES {
            assert!(Instant::now() < until, "{} of {MESSAGES} came", found.len());
            for delivery in consumer.fetch(16, Duration::from_secs(1)).await.unwrap_or_default() {
                found.insert(delivery.body.clone());
                let _redelivered_if_lost = delivery.ack().await;
            }
        }
        let log = until_it_works(|| self.bus.snapshot(self.run)).await;
        let expected: Vec<Bytes> = (0..MESSAGES).map(|n| Bytes::from(n.to_string())).collect();
        assert_eq!(log, expected);
    }
}

/// A reader's consumer may be made on the server that was away. It has less, and says so of the
/// log: an archive that believed it lost the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_whole_while_a_server_catches_up() {
    let mut all = Servers::start(3).await;
    let entry = |number: usize| vec![(format!("m{number}"), Bytes::from(vec![b'.'; MISSED_BYTES]))];
    until_it_works(|| all.bus.append(all.run, entry(0))).await;
    all.servers[2].kill();
    for number in 1..=MISSED {
        until_it_works(|| all.bus.append(all.run, entry(number))).await;
    }
    all.servers[2].resume().await.unwrap();
    for _ in 0..LOOKS {
        let log = until_it_works(|| all.bus.snapshot(all.run)).await;
        assert_eq!(log.len(), MISSED + 1);
    }
}

/// Tries again while the servers choose who leads.
async fn until_it_works<T, F: Future<Output = Result<T, Error>>>(mut act: impl FnMut() -> F) -> T {
    let until = Instant::now() + SURELY;
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_three_may_die() {
    let mut all = Servers::start(3).await;
    let step = MESSAGES / 3;
    // One of two deaths at least hits who leads a stream or has our connection.
    for (round, dies) in [0, 1].into_iter().enumerate() {
        all.send(round * step..(round + 1) * step).await;
        all.servers[dies].kill();
        all.send((round + 1) * step..(round + 1) * step + 1).await;
        all.servers[dies].resume().await.unwrap();
    }
    all.send(2 * step..MESSAGES).await;
    all.has_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_three_may_ask_us_to_leave() {
    let all = Servers::start(1).await;
    all.send(0..MESSAGES / 2).await;
    // The one that has our connection.
    all.servers[0].leave().unwrap();
    all.send(MESSAGES / 2..MESSAGES).await;
    all.has_all().await;
}
