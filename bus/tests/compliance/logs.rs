//! Event logs.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Error, EventReader, Queue, Service};
use bytes::Bytes;
use domain::id::RunId;
use futures::future::join_all;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::fixture::{Fixture, NEVER, SURELY, noise, surely};

fn run() -> RunId {
    RunId(Uuid::now_v7())
}

fn entry(text: &str) -> (String, Bytes) {
    (text.to_owned(), Bytes::from(text.to_owned()))
}

fn numbered(from: usize, to: usize) -> Vec<(String, Bytes)> {
    (from..to).map(|number| entry(&format!("e{number}"))).collect()
}

/// The next `count` entries.
async fn take(reader: &mut EventReader, count: usize) -> Vec<(u64, Bytes)> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.push(surely(reader.next()).await.unwrap().unwrap());
    }
    entries
}

async fn bodies(bus: &Bus, run: RunId) -> Vec<Bytes> {
    bus.snapshot(run).await.unwrap()
}

fn texts(entries: &[(String, Bytes)]) -> Vec<Bytes> {
    entries.iter().map(|(_, body)| body.clone()).collect()
}

pub(crate) async fn positions_count_from_one(fixture: Fixture) {
    let (bus, run, noisy) = (&fixture.bus, run(), run());
    assert!(bodies(bus, run).await.is_empty());
    for entries in [numbered(0, 3), numbered(3, 4), numbered(4, 10)] {
        bus.append(run, entries).await.unwrap();
        bus.append(noisy, vec![entry(&Uuid::new_v4().to_string())]).await.unwrap();
    }
    let mut reader = fixture.other().await.read(run, 0).await.unwrap();
    let expected: Vec<_> =
        (1..=10).map(|position| (position, Bytes::from(format!("e{}", position - 1)))).collect();
    assert_eq!(take(&mut reader, 10).await, expected);
    assert_eq!(bodies(bus, run).await, texts(&numbered(0, 10)));
    bus.append(run, Vec::new()).await.unwrap();
    assert!(tokio::time::timeout(NEVER, reader.next()).await.is_err());
}

pub(crate) async fn concurrent_appenders_keep_their_order(fixture: Fixture) {
    let run = run();
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let bus = fixture.other().await;
        tasks.push(tokio::spawn(async move {
            for batch in 0..20 {
                let entries = (0..5)
                    .map(|number| entry(&format!("{writer}:{:03}", batch * 5 + number)))
                    .collect();
                bus.append(run, entries).await.unwrap();
            }
        }));
    }
    let mut reader = fixture.bus.read(run, 0).await.unwrap();
    let entries = take(&mut reader, 400).await;
    for task in tasks {
        task.await.unwrap();
    }
    for writer in 0..4 {
        let start = format!("{writer}:");
        let own: Vec<_> = entries
            .iter()
            .filter(|(_, body)| body.starts_with(start.as_bytes()))
            .map(|(_, body)| body.clone())
            .collect();
        let expected: Vec<_> =
            (0..100).map(|number| Bytes::from(format!("{writer}:{number:03}"))).collect();
        assert_eq!(own, expected);
    }
}

pub(crate) async fn readers_agree(fixture: Fixture) {
    let run = run();
    let mut buses = vec![fixture.bus.clone()];
    buses.push(fixture.other().await);
    let started = Arc::new(Barrier::new(11));
    let mut readers = Vec::new();
    for number in 0..10 {
        let bus = buses[number % 2].clone();
        let started = Arc::clone(&started);
        readers.push(tokio::spawn(async move {
            let mut reader = bus.read(run, 0).await.unwrap();
            started.wait().await;
            take(&mut reader, 300).await
        }));
    }
    started.wait().await;
    let writers = (0..3).map(|writer| {
        let bus = &buses[writer % 2];
        async move {
            for number in 0..100 {
                let entries = vec![entry(&format!("{writer}:{number}"))];
                bus.append(run, entries).await.unwrap();
            }
        }
    });
    join_all(writers).await;
    let late = take(&mut fixture.bus.read(run, 0).await.unwrap(), 300).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), late);
    }
}

pub(crate) async fn a_reader_resumes_anywhere(fixture: Fixture) {
    let (bus, run) = (&fixture.bus, run());
    bus.append(run, numbered(0, 70)).await.unwrap();
    bus.append(run, numbered(70, 140)).await.unwrap();
    for after in 0..140_usize {
        let mut reader = bus.read(run, after as u64).await.unwrap();
        let (position, body) = take(&mut reader, 1).await.remove(0);
        assert_eq!(position, after as u64 + 1);
        assert_eq!(body, format!("e{after}"));
    }
    // Beyond the end: the entries before it are skipped when they come.
    let mut ahead = bus.read(run, 145).await.unwrap();
    let mut at_end = bus.read(run, 140).await.unwrap();
    bus.append(run, numbered(140, 150)).await.unwrap();
    assert_eq!(take(&mut ahead, 1).await, [(146, Bytes::from("e145"))]);
    assert_eq!(take(&mut at_end, 1).await, [(141, Bytes::from("e140"))]);
}

pub(crate) async fn a_reader_waits_for_the_first_entry(fixture: Fixture) {
    let (bus, run) = (fixture.bus.clone(), run());
    let mut reader = bus.read(run, 0).await.unwrap();
    assert!(tokio::time::timeout(NEVER, reader.next()).await.is_err());
    let waiting = tokio::spawn(async move { take(&mut reader, 1).await });
    fixture.other().await.append(run, numbered(0, 1)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), [(1, Bytes::from("e0"))]);
}

pub(crate) async fn ids_count_once(fixture: Fixture) {
    let (bus, run, other) = (&fixture.bus, run(), run());
    bus.append(run, numbered(0, 3)).await.unwrap();
    bus.append(run, numbered(0, 3)).await.unwrap();
    bus.append(run, numbered(1, 5)).await.unwrap();
    bus.append(run, vec![entry("e4"), entry("e5"), entry("e5")]).await.unwrap();
    bus.append(other, numbered(0, 2)).await.unwrap();
    assert_eq!(bodies(bus, run).await, texts(&numbered(0, 6)));
    assert_eq!(bodies(bus, other).await, texts(&numbered(0, 2)));
    let mut reader = bus.read(run, 5).await.unwrap();
    assert_eq!(take(&mut reader, 1).await, [(6, Bytes::from("e5"))]);
}

pub(crate) async fn a_large_entry_is_one_entry(fixture: Fixture) {
    let (bus, run) = (&fixture.bus, run());
    let mut live = bus.read(run, 0).await.unwrap();
    let large = |seed: u64, mib: usize| (format!("large{seed}"), noise(seed, mib * 1024 * 1024));
    let entries = vec![entry("a"), large(1, 3), entry("b"), large(2, 20), entry("c")];
    bus.append(run, entries.clone()).await.unwrap();
    bus.append(run, entries.clone()).await.unwrap();
    let both = join_all([3, 4].map(|seed| bus.append(run, vec![large(seed, 3)]))).await;
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    let mut late = fixture.other().await.read(run, 0).await.unwrap();
    let seen = take(&mut live, 7).await;
    assert!(seen == take(&mut late, 7).await);
    let first: Vec<_> = seen.iter().take(5).map(|(_, body)| body.clone()).collect();
    assert!(first == texts(&entries));
    let mut last: Vec<_> = seen.into_iter().skip(5).map(|(_, body)| body).collect();
    last.sort();
    let mut expected = vec![large(3, 3).1, large(4, 3).1];
    expected.sort();
    assert!(last == expected);
    let mut resumed = bus.read(run, 3).await.unwrap();
    let (position, body) = take(&mut resumed, 1).await.remove(0);
    assert!(position == 4 && body == large(2, 20).1);
    let huge = Bytes::from(vec![0; bus::ENTRY_BYTES_MAX + 1]);
    let refused = bus.append(run, vec![("huge".to_owned(), huge)]).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

pub(crate) async fn a_cancelled_read_loses_nothing(fixture: Fixture) {
    let (bus, run) = (fixture.bus.clone(), run());
    let mut reader = bus.read(run, 0).await.unwrap();
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            bus.append(run, numbered(number, number + 1)).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    let all = async {
        while seen.len() < 200 {
            let micros = 50 * (seen.len() as u64 % 7);
            let next = tokio::time::timeout(Duration::from_micros(micros), reader.next());
            if let Ok(entry) = next.await {
                seen.push(entry.unwrap().unwrap().1);
            }
        }
    };
    surely(all).await;
    assert_eq!(seen, texts(&numbered(0, 200)));
    writer.await.unwrap();
}

pub(crate) async fn logs_are_apart_and_forgotten(fixture: Fixture) {
    let (bus, one, two) = (&fixture.bus, run(), run());
    bus.append(one, numbered(0, 2)).await.unwrap();
    bus.append(two, numbered(5, 6)).await.unwrap();
    bus.forget(one).await.unwrap();
    bus.forget(run()).await.unwrap();
    assert!(bodies(bus, one).await.is_empty());
    assert_eq!(bodies(bus, two).await, ["e5"]);
    bus.append(one, numbered(7, 8)).await.unwrap();
    let mut reader = bus.read(one, 0).await.unwrap();
    assert_eq!(take(&mut reader, 1).await, [(1, Bytes::from("e7"))]);
}

pub(crate) async fn a_restart_loses_nothing(mut fixture: Fixture) {
    let run = run();
    fixture.bus.append(run, numbered(0, 100)).await.unwrap();
    let mut reader = fixture.bus.read(run, 0).await.unwrap();
    let mut seen = take(&mut reader, 60).await;
    fixture.restart().await;
    if !fixture.readers_survive() {
        reader = fixture.bus.read(run, 60).await.unwrap();
    }
    fixture.bus.append(run, numbered(95, 150)).await.unwrap();
    seen.extend(take(&mut reader, 60).await);
    // Again, while somebody appends.
    if fixture.readers_survive() {
        let bus = fixture.bus.clone();
        let writer = tokio::spawn(async move {
            for number in 150..400 {
                bus.append(run, numbered(number, number + 1)).await.unwrap();
            }
        });
        seen.extend(take(&mut reader, 60).await);
        fixture.restart().await;
        writer.await.unwrap();
    } else {
        fixture.bus.append(run, numbered(150, 400)).await.unwrap();
    }
    let rest = 400 - seen.len();
    seen.extend(take(&mut reader, rest).await);
    let expected: Vec<_> =
        (0..400).map(|number| (number + 1, Bytes::from(format!("e{number}")))).collect();
    assert_eq!(seen, expected);
    surely(async { while fixture.bus.healthy().await.is_err() {} }).await;
}

pub(crate) async fn a_closed_bus_ends_everything(fixture: Fixture) {
    let bus = fixture.bus.clone();
    let mut reader = bus.read(run(), 0).await.unwrap();
    let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
    let mut requests = bus.serve(Service::Scheduler, 1).await.unwrap();
    let reading = tokio::spawn(async move { reader.next().await });
    let fetching = tokio::spawn(async move { consumer.fetch(1, SURELY * 2).await });
    let serving = tokio::spawn(async move { requests.next().await });
    tokio::task::yield_now().await;
    bus.close().await;
    assert!(surely(reading).await.unwrap().unwrap().is_none());
    assert!(surely(fetching).await.unwrap().is_err());
    assert!(surely(serving).await.unwrap().is_none());
    assert!(matches!(bus.healthy().await, Err(Error::Closed)));
    assert!(matches!(bus.append(run(), numbered(0, 1)).await, Err(Error::Closed)));
}
