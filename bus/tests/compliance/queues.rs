//! Work queues.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Bus, Consumer, Delivery, Error, Queue};
use bytes::Bytes;
use tokio::time::Instant;

use crate::fixture::{Fixture, LEASE, NEVER, QUEUE_MAX, SURELY};

async fn put(bus: &Bus, queue: &Queue, text: &str) {
    bus.enqueue(queue, text, Bytes::from(text.to_owned())).await.unwrap();
}

async fn one(consumer: &mut Consumer) -> Delivery {
    let mut taken = consumer.fetch(1, SURELY).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0)
}

async fn none(consumer: &mut Consumer) {
    let taken = consumer.fetch(10, NEVER).await.unwrap();
    assert!(taken.is_empty(), "{taken:?}");
}

pub(crate) async fn a_message_is_delivered_once_when_acked(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    for text in ["a", "b", "c"] {
        put(bus, &Queue::Runs, text).await;
    }
    let taken = consumer.fetch(2, SURELY).await.unwrap();
    let bodies: Vec<_> = taken.iter().map(|delivery| delivery.body.clone()).collect();
    assert_eq!(bodies, ["a", "b"]);
    for delivery in taken {
        assert_eq!(delivery.delivered, 1);
        delivery.ack().await.unwrap();
    }
    let rest = consumer.fetch(10, SURELY).await.unwrap();
    assert_eq!(rest.len(), 1);
    for delivery in rest {
        delivery.ack().await.unwrap();
    }
    assert!(consumer.fetch(10, LEASE * 2).await.unwrap().is_empty());
}

pub(crate) async fn a_lease_ends(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    put(bus, &Queue::Runs, "a").await;
    let first = one(&mut consumer).await;
    let start = Instant::now();
    let second = one(&mut consumer).await;
    assert_eq!((first.body.clone(), second.delivered), (second.body.clone(), 2));
    assert!(start.elapsed() > LEASE / 2, "{:?}", start.elapsed());
    second.ack().await.unwrap();
    assert!(consumer.fetch(1, LEASE * 2).await.unwrap().is_empty());
}

pub(crate) async fn a_lease_is_extended(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    put(bus, &Queue::Runs, "a").await;
    let delivery = one(&mut consumer).await;
    let start = Instant::now();
    while start.elapsed() < LEASE * 2 {
        assert!(consumer.fetch(1, LEASE / 5).await.unwrap().is_empty());
        delivery.extend().await.unwrap();
    }
    drop(delivery);
    assert_eq!(one(&mut consumer).await.delivered, 2);
}

pub(crate) async fn a_nack_delays(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    put(bus, &Queue::Runs, "a").await;
    let after = LEASE * 2;
    let start = Instant::now();
    one(&mut consumer).await.nack(after).await.unwrap();
    let again = one(&mut consumer).await;
    assert!(start.elapsed() >= after, "{:?}", start.elapsed());
    assert_eq!(again.delivered, 2);
    again.nack(Duration::ZERO).await.unwrap();
    let start = Instant::now();
    assert_eq!(one(&mut consumer).await.delivered, 3);
    assert!(start.elapsed() < LEASE, "{:?}", start.elapsed());
}

pub(crate) async fn an_id_is_taken_once(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    put(bus, &Queue::Runs, "a").await;
    put(bus, &Queue::Runs, "a").await;
    one(&mut consumer).await.ack().await.unwrap();
    put(bus, &Queue::Runs, "a").await;
    none(&mut consumer).await;
    put(bus, &Queue::Runs, "b").await;
    assert_eq!(one(&mut consumer).await.body, "b");
}

pub(crate) async fn a_full_queue_refuses(fixture: Fixture) {
    let bus = &fixture.bus;
    for number in 0..QUEUE_MAX {
        put(bus, &Queue::Runs, &format!("m{number}")).await;
    }
    let over = bus.enqueue(&Queue::Runs, "over", Bytes::from("over")).await;
    assert!(matches!(over, Err(Error::QueueFull { .. })), "{over:?}");
    // What was refused is not taken for a repetition later.
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    one(&mut consumer).await.ack().await.unwrap();
    let later = async {
        while bus.enqueue(&Queue::Runs, "over", Bytes::from("over")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SURELY, later).await.unwrap();
    let rest = consumer.fetch(QUEUE_MAX + 1, SURELY).await.unwrap();
    assert_eq!(rest.len(), QUEUE_MAX);
    assert_eq!(rest.last().unwrap().body, "over");
}

pub(crate) async fn a_waiting_fetch_gets_what_comes(fixture: Fixture) {
    let (bus, other) = (fixture.bus.clone(), fixture.other().await);
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    none(&mut consumer).await;
    let waiting = tokio::spawn(async move {
        // More than comes: it does not wait for the rest.
        let taken = consumer.fetch(10, SURELY).await.unwrap();
        assert_eq!(taken.len(), 1);
        (taken[0].body.clone(), Instant::now())
    });
    tokio::task::yield_now().await;
    put(&other, &Queue::Runs, "a").await;
    let put_at = Instant::now();
    let (body, at) = waiting.await.unwrap();
    assert_eq!(body, "a");
    let took = at.saturating_duration_since(put_at);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

pub(crate) async fn a_cancelled_fetch_loses_nothing(fixture: Fixture) {
    let bus = &fixture.bus;
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    for millis in [0, 1, 3, 30] {
        let fetch = consumer.fetch(1, SURELY);
        let cut = tokio::time::timeout(Duration::from_millis(millis), fetch).await;
        assert!(cut.is_err());
    }
    let start = Instant::now();
    put(bus, &Queue::Runs, "a").await;
    let delivery = one(&mut consumer).await;
    assert_eq!(delivery.delivered, 1);
    assert!(start.elapsed() < LEASE, "{:?}", start.elapsed());
}

pub(crate) async fn consumers_share(fixture: Fixture) {
    let (bus, other) = (fixture.bus.clone(), fixture.other().await);
    for number in 0..20 {
        put(&bus, &Queue::Runs, &format!("m{number}")).await;
    }
    let mut seen = BTreeSet::new();
    let mut first = bus.consumer(&Queue::Runs).await.unwrap();
    let mut second = other.consumer(&Queue::Runs).await.unwrap();
    for _ in 0..4 {
        for consumer in [&mut first, &mut second] {
            for delivery in consumer.fetch(3, NEVER).await.unwrap() {
                assert!(seen.insert(delivery.body.clone()), "{delivery:?}");
                delivery.ack().await.unwrap();
            }
        }
    }
    assert_eq!(seen.len(), 20);
}

pub(crate) async fn pools_are_apart(fixture: Fixture) {
    let bus = &fixture.bus;
    let pool = |name: &str| Queue::Tasks { pool: name.into(), depth: 0 };
    let mut gpu = bus.consumer(&pool("gpu")).await.unwrap();
    none(&mut gpu).await;
    put(bus, &pool("default"), "a").await;
    put(bus, &pool("gpu"), "a").await;
    put(bus, &Queue::Runs, "r").await;
    one(&mut gpu).await.ack().await.unwrap();
    none(&mut gpu).await;
    let mut default = bus.consumer(&pool("default")).await.unwrap();
    assert_eq!(one(&mut default).await.body, "a");
}

pub(crate) async fn depths_are_apart(fixture: Fixture) {
    let bus = &fixture.bus;
    let depth = |depth: u32| Queue::Tasks { pool: "default".into(), depth };
    let mut second = bus.consumer(&depth(2)).await.unwrap();
    none(&mut second).await;
    put(bus, &depth(0), "a").await;
    put(bus, &depth(1), "a").await;
    none(&mut second).await;
    put(bus, &depth(2), "a").await;
    one(&mut second).await.ack().await.unwrap();
    let mut first = bus.consumer(&depth(1)).await.unwrap();
    assert_eq!(one(&mut first).await.body, "a");
}

pub(crate) async fn names_are_checked(fixture: Fixture) {
    let bus = &fixture.bus;
    let odd = Queue::Tasks { pool: "a.>".into(), depth: 0 };
    let refused = bus.enqueue(&odd, "a", Bytes::new()).await;
    assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    assert!(bus.consumer(&odd).await.is_err());
    let refused = bus.enqueue(&Queue::Runs, "a\r\nb: c", Bytes::new()).await;
    assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    let large = Bytes::from(vec![0; bus::MESSAGE_BYTES_MAX + 1]);
    let refused = bus.enqueue(&Queue::Runs, "a", large).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    let largest = Bytes::from(vec![0; bus::MESSAGE_BYTES_MAX]);
    bus.enqueue(&Queue::Runs, "a", largest).await.unwrap();
    bus.healthy().await.unwrap();
}
