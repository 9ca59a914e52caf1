//! Rough figures, not a test: `cargo nextest run -p flowcell-bus --run-ignored only --no-capture`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

extern crate flowcell_bus as bus;

use std::future::Future;
use std::time::{Duration, Instant};

use bus::{Bus, Queue, Service};
use bytes::Bytes;
use domain::id::RunId;
use futures::StreamExt as _;
use testkit::nats::Server;
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(30);

async fn measure<F: Future<Output = ()>>(
    name: &str,
    count: usize,
    at_once: usize,
    one: impl Fn(usize) -> F,
) {
    let start = Instant::now();
    futures::stream::iter(0..count).for_each_concurrent(at_once, one).await;
    let each = start.elapsed().as_secs_f64() / count as f64;
    println!("{name:44} {:>9.0}/s {:>9.1} µs", 1.0 / each, each * 1e6);
}

async fn all(name: &str, bus: &Bus) {
    println!("-- {name}");
    let body = Bytes::from(vec![b'x'; 256]);
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    for at_once in [1, 64] {
        measure(&format!("enqueue, {at_once} at once"), 5000, at_once, |number| {
            let (bus, body) = (bus.clone(), body.clone());
            async move {
                let id = format!("{at_once}-{number}");
                bus.enqueue(&Queue::Runs, &id, body).await.unwrap();
            }
        })
        .await;
    }
    let start = Instant::now();
    let mut count = 0;
    while count < 10_000 {
        for delivery in consumer.fetch(100, WAIT).await.unwrap() {
            delivery.ack().await.unwrap();
            count += 1;
        }
    }
    println!("fetch 100 and ack: {:.0}/s", f64::from(count) / start.elapsed().as_secs_f64());
    logs(bus, &body).await;
    requests(bus).await;
}

async fn logs(bus: &Bus, body: &Bytes) {
    for (runs, batch) in [(1, 1), (64, 1), (1, 20), (64, 20)] {
        let ids: Vec<_> = (0..runs).map(|_| RunId(Uuid::now_v7())).collect();
        let name = format!("append {batch} to each of {runs} runs");
        measure(&name, 4000, runs, |number| {
            let (bus, run) = (bus.clone(), ids[number % runs]);
            let entries: Vec<_> =
                (0..batch).map(|entry| (format!("{number}-{entry}"), body.clone())).collect();
            async move { bus.append(run, entries).await.unwrap() }
        })
        .await;
        if (runs, batch) == (1, 20) {
            let start = Instant::now();
            let mut reader = bus.read(ids[0], 0).await.unwrap();
            for _ in 0..80_000 {
                reader.next().await.unwrap().unwrap();
            }
            println!("replay: {:.0} entries/s", 80_000.0 / start.elapsed().as_secs_f64());
        }
    }
}

async fn requests(bus: &Bus) {
    let mut requests = bus.serve(Service::Scheduler, 256).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let body = request.body.clone();
            tokio::spawn(async move { request.respond(body).await.unwrap() });
        }
    });
    for (bytes, count, at_once) in [(1024, 3000, 1), (1024, 5000, 64), (4 << 20, 6, 1)] {
        let body = Bytes::from(vec![b'x'; bytes]);
        measure(&format!("request of {bytes} B, {at_once} at once"), count, at_once, |_| {
            let (bus, body) = (bus.clone(), body.clone());
            async move {
                bus.request(Service::Scheduler, body, WAIT).await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures and proves nothing"]
async fn throughput() {
    let dir = tempfile::tempdir().unwrap();
    all("memory", &bus::memory(bus::memory::Settings::new(dir.path())).await.unwrap()).await;
    let server = Server::start().await.unwrap();
    all("nats", &bus::nats(bus::nats::Settings::new(server.url())).await.unwrap()).await;
}
