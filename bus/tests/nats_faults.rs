//! What only a server can do to us.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

extern crate flowcell_bus as bus;

use std::time::Duration;

use bus::nats::{Credentials, Settings};
use bus::{Error, Queue, Service};
use bytes::Bytes;
use domain::id::RunId;
use futures::StreamExt;
use testkit::nats::Server;
use tokio::time::Instant;
use uuid::Uuid;

const SURELY: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_fetch_survives_a_restart() {
    let mut server = Server::start().await.unwrap();
    let bus = bus::nats(Settings::new(server.url())).await.unwrap();
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    assert!(consumer.fetch(1, Duration::ZERO).await.unwrap().is_empty());
    let fetching = tokio::spawn(async move {
        let until = Instant::now() + SURELY;
        while Instant::now() < until {
            // A fetch may fail while the server is away; calling again is all it takes.
            if let Ok(taken) = consumer.fetch(1, SURELY).await
                && let Some(delivery) = taken.into_iter().next()
            {
                return delivery.body;
            }
        }
        Bytes::new()
    });
    server.restart().await.unwrap();
    let start = Instant::now();
    bus.enqueue(&Queue::Runs, "a", Bytes::from("a")).await.unwrap();
    assert_eq!(fetching.await.unwrap(), "a");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_a_service_survive_a_restart() {
    let mut server = Server::start().await.unwrap();
    let bus = bus::nats(Settings::new(server.url())).await.unwrap();
    let mut requests = bus.serve(Service::Scheduler, 4).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let body = request.body.clone();
            request.respond(body).await.unwrap();
        }
    });
    server.restart().await.unwrap();
    let asking = async {
        let body = Bytes::from(vec![1; 1024 * 1024]);
        let second = Duration::from_secs(1);
        while bus.request(Service::Scheduler, body.clone(), second).await.is_err() {}
    };
    tokio::time::timeout(SURELY, asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_server_is_furnished_again() {
    let mut server = Server::start().await.unwrap();
    let bus = bus::nats(Settings::new(server.url())).await.unwrap();
    let run = RunId(Uuid::now_v7());
    let entry = |id: &str| vec![(id.to_owned(), Bytes::from(id.to_owned()))];
    bus.enqueue(&Queue::Runs, "a", Bytes::from("a")).await.unwrap();
    bus.append(run, entry("a")).await.unwrap();
    server.kill();
    server.wipe().unwrap();
    server.resume().await.unwrap();
    bus.enqueue(&Queue::Runs, "a", Bytes::from("a")).await.unwrap();
    bus.append(run, entry("b")).await.unwrap();
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    assert_eq!(consumer.fetch(9, SURELY).await.unwrap().len(), 1);
    assert_eq!(bus.snapshot(run).await.unwrap(), ["b"]);
}

/// A server whose disk is full refuses any change of a stream, also one to what it is already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_as_needed_are_left_alone() {
    let server = Server::start().await.unwrap();
    let _first = bus::nats(Settings::new(server.url())).await.unwrap();
    let raw = async_nats::connect(server.url()).await.unwrap();
    let mut changes = raw.subscribe("$JS.EVENT.ADVISORY.STREAM.>").await.unwrap();
    raw.flush().await.unwrap();
    let _second = bus::nats(Settings::new(server.url())).await.unwrap();
    // Something that is told for certain, behind whatever the second one has changed.
    let jetstream = async_nats::jetstream::new(raw);
    let config =
        async_nats::jetstream::stream::Config { name: "mark".into(), ..Default::default() };
    jetstream.create_stream(config).await.unwrap();
    let told = tokio::time::timeout(SURELY, changes.next()).await.unwrap().unwrap();
    assert_eq!(told.subject.as_str(), "$JS.EVENT.ADVISORY.STREAM.CREATED.mark");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_refuses_and_keeps_its_head() {
    let server = Server::start().await.unwrap();
    let settings = Settings { events_bytes_max: 2 * 1024 * 1024, ..Settings::new(server.url()) };
    let bus = bus::nats(settings).await.unwrap();
    let run = RunId(Uuid::now_v7());
    let mut stored = 0;
    let refused = loop {
        let entry = (format!("e{stored}"), Bytes::from(vec![stored; 300 * 1024]));
        match bus.append(run, vec![entry]).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::LogFull { .. }), "{refused:?}");
    let entries = bus.snapshot(run).await.unwrap();
    assert_eq!(entries.len(), usize::from(stored));
    assert_eq!(entries[0][0], 0);
    bus.forget(run).await.unwrap();
    bus.append(run, vec![("z".to_owned(), Bytes::new())]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_an_error() {
    let server = Server::start_with("authorization { user: a, password: b }").await.unwrap();
    let mut settings =
        Settings { connect_wait: Duration::from_millis(300), ..Settings::new(server.url()) };
    assert!(matches!(bus::nats(settings.clone()).await, Err(Error::Server { .. })));
    settings.credentials = Credentials::Password { user: "a".into(), password: "b".into() };
    assert!(!format!("{settings:?}").contains("\"b\""));
    bus::nats(settings.clone()).await.unwrap().healthy().await.unwrap();
    drop(server);
    let start = Instant::now();
    assert!(matches!(bus::nats(settings).await, Err(Error::Server { .. })));
    assert!(start.elapsed() < SURELY);
}

/// As a server does that does not know a field and drops it: what is there is not what was asked.
#[tokio::test]
async fn a_stream_that_is_not_as_needed_is_refused() {
    let server = Server::start().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let subjects = bus::subjects::Subjects::new(bus::subjects::PREFIX).unwrap();
    let name = subjects.queue_stream(&Queue::Runs).unwrap();
    // How a stream keeps its messages cannot be changed later.
    let wrong = async_nats::jetstream::stream::Config {
        name: name.clone(),
        subjects: vec![subjects.queue(&Queue::Runs).unwrap()],
        retention: async_nats::jetstream::stream::RetentionPolicy::Limits,
        ..Default::default()
    };
    async_nats::jetstream::new(client).create_stream(wrong).await.unwrap();
    let settings = Settings { connect_wait: Duration::from_secs(1), ..Settings::new(server.url()) };
    let refused = bus::nats(settings).await.unwrap_err().to_string();
    assert!(refused.contains(&name), "{refused}");
}
