//! Requests and orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{Bus, Error, Requests, Service};
use bytes::Bytes;
use domain::id::WorkerEpoch;
use futures::future::join_all;
use tokio::sync::Barrier;
use tokio::time::Instant;
use uuid::Uuid;

use crate::fixture::{Fixture, NEVER, SURELY, noise, surely};

const MIB: usize = 1024 * 1024;

/// Answers every request with what `answer` makes of it, each in its own task.
fn answer(mut requests: Requests, answer: fn(Bytes) -> Bytes) {
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            tokio::spawn(async move {
                let body = answer(request.body.clone());
                request.respond(body).await.unwrap();
            });
        }
    });
}

async fn ask(bus: &Bus, body: impl Into<Bytes>) -> Result<Bytes, Error> {
    bus.request(Service::Scheduler, body.into(), SURELY).await
}

fn backwards(body: Bytes) -> Bytes {
    body.iter().rev().copied().collect()
}

pub(crate) async fn an_answer_comes_back(fixture: Fixture) {
    let server = fixture.other().await;
    answer(server.serve(Service::Scheduler, 8).await.unwrap(), backwards);
    assert_eq!(ask(&fixture.bus, "abc").await.unwrap(), "cba");
    assert_eq!(ask(&fixture.bus, "").await.unwrap(), "");
}

pub(crate) async fn nobody_serves(fixture: Fixture) {
    let start = Instant::now();
    for body in [Bytes::from("a"), noise(1, 2 * MIB)] {
        let nobody = ask(&fixture.bus, body).await;
        assert!(matches!(nobody, Err(Error::NoServer { .. })), "{nobody:?}");
    }
    let requests = fixture.bus.serve(Service::Scheduler, 1).await.unwrap();
    drop(requests);
    // The server's subscription ends a moment later.
    surely(async {
        while !matches!(
            fixture.bus.request(Service::Scheduler, Bytes::new(), NEVER).await,
            Err(Error::NoServer { .. })
        ) {}
    })
    .await;
    assert!(start.elapsed() < SURELY);
}

/// Whoever has been sent to a server that leaves gets an answer; nobody waits in vain.
pub(crate) async fn a_server_that_leaves_answers_what_it_was_sent(fixture: Fixture) {
    const ASKED: usize = 8;
    let mut requests = fixture.bus.serve(Service::Scheduler, 2 * ASKED).await.unwrap();
    let asking = join_all((0..ASKED).map(|_| ask(&fixture.bus, "abc")));
    let serving = async {
        let first = requests.next().await.unwrap();
        requests.leave();
        first.respond(Bytes::from("first")).await.unwrap();
        let mut answered = 1;
        while let Some(request) = requests.next().await {
            request.respond(Bytes::from("later")).await.unwrap();
            answered += 1;
        }
        answered
    };
    let (answers, answered) = tokio::join!(asking, serving);
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    let nobody = answers.iter().filter(|a| matches!(a, Err(Error::NoServer { .. }))).count();
    assert_eq!((good, good + nobody), (answered, ASKED), "{answers:?}");
}

pub(crate) async fn an_answer_is_late(fixture: Fixture) {
    let mut requests = fixture.bus.serve(Service::Scheduler, 1).await.unwrap();
    let late = fixture.bus.request(Service::Scheduler, Bytes::from("a"), NEVER).await;
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    // The server may still see it; its answer goes nowhere and harms nobody.
    if let Ok(Some(request)) = tokio::time::timeout(NEVER, requests.next()).await {
        request.respond(noise(1, 3 * MIB).slice(..1)).await.unwrap();
    }
    answer(requests, backwards);
    assert_eq!(ask(&fixture.bus, "abc").await.unwrap(), "cba");
}

pub(crate) async fn a_dropped_request_is_told(fixture: Fixture) {
    let mut requests = fixture.bus.serve(Service::Scheduler, 1).await.unwrap();
    tokio::spawn(async move {
        drop(requests.next().await);
        answer(requests, backwards);
    });
    let dropped = ask(&fixture.bus, "a").await;
    assert!(matches!(dropped, Err(Error::Dropped { .. })), "{dropped:?}");
    assert_eq!(ask(&fixture.bus, "abc").await.unwrap(), "cba");
}

pub(crate) async fn large_bodies_go_both_ways(fixture: Fixture) {
    let server = fixture.other().await;
    answer(server.serve(Service::Scheduler, 2).await.unwrap(), backwards);
    for len in [100 * 1024, 128 * 1024 + 1, MIB, 20 * MIB, bus::BODY_BYTES_MAX] {
        let body = noise(len as u64, len);
        let reply = ask(&fixture.bus, body.clone()).await.unwrap();
        assert!(reply == backwards(body), "{len} bytes");
    }
}

pub(crate) async fn too_large_is_refused(fixture: Fixture) {
    let huge = Bytes::from(vec![0; bus::BODY_BYTES_MAX + 1]);
    answer(fixture.bus.serve(Service::Scheduler, 1).await.unwrap(), |_| Bytes::new());
    let refused = ask(&fixture.bus, huge).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

pub(crate) async fn many_large_bodies_do_not_mix(fixture: Fixture) {
    let server = fixture.other().await;
    for bus in [&server, &fixture.bus] {
        answer(bus.serve(Service::Scheduler, 16).await.unwrap(), backwards);
    }
    let asks = (0..100).map(|number: usize| {
        let bus = fixture.bus.clone();
        tokio::spawn(async move {
            let len = 1 + (number % 5) * 200 * 1024 + number;
            let body = noise(number as u64, len);
            let reply = ask(&bus, body.clone()).await.unwrap();
            assert!(reply == backwards(body), "{number}");
        })
    });
    for asked in surely(join_all(asks)).await {
        asked.unwrap();
    }
}

pub(crate) async fn servers_share_and_are_bounded(fixture: Fixture) {
    let other = fixture.other().await;
    let barrier = Arc::new(Barrier::new(4));
    let most = Arc::new(AtomicUsize::new(0));
    for bus in [&fixture.bus, &other] {
        let mut requests = bus.serve(Service::Scheduler, 2).await.unwrap();
        let (barrier, most) = (Arc::clone(&barrier), Arc::clone(&most));
        let now = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (barrier, now) = (Arc::clone(&barrier), Arc::clone(&now));
                tokio::spawn(async move {
                    // Both servers have two in hand, or it stays there a little and goes on.
                    let _ = tokio::time::timeout(Duration::from_millis(100), barrier.wait()).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    request.respond(Bytes::new()).await.unwrap();
                });
            }
        });
    }
    let answers = (0..20).map(|_| ask(&fixture.bus, "a"));
    for answer in surely(join_all(answers)).await {
        answer.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

pub(crate) async fn orders_reach_their_worker(fixture: Fixture) {
    let other = fixture.other().await;
    let [one, two] = [WorkerEpoch(Uuid::new_v4()), WorkerEpoch(Uuid::new_v4())];
    fixture.bus.tell(one, Bytes::from("nobody listens")).await.unwrap();
    let mut orders_one = fixture.bus.listen(one).await.unwrap();
    let mut orders_two = fixture.bus.listen(two).await.unwrap();
    for text in ["a", "b"] {
        other.tell(one, Bytes::from(text)).await.unwrap();
    }
    other.tell(two, Bytes::from("c")).await.unwrap();
    assert_eq!(surely(orders_one.next()).await.unwrap(), "a");
    assert_eq!(surely(orders_one.next()).await.unwrap(), "b");
    assert_eq!(surely(orders_two.next()).await.unwrap(), "c");
}
