//! What the scheduler looks for when nobody says anything.

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::limits::{LEASE, REDISPATCH};
use domain::run::Command;
use domain::time::Timestamp;
use proto::message::AttemptRef;
use store::{OutboxMessage, Transition, WorkerRow};

use crate::fixture::{Fixture, T0, began, claim, worker};

on_both! {
    late_runs_and_lost_offers_are_found,
    attempts_of_lost_workers_are_found,
    attempts_that_a_worker_does_not_know_are_found,
    the_outbox_is_read_in_order_and_pruned,
    dead_workers_are_pruned,
}

fn after(ms: u64) -> Timestamp {
    T0 + Duration::from_millis(ms)
}

async fn late_runs_and_lost_offers_are_found(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let lost = async |now: Timestamp| f.store.engine().lost_offers(now, 10).await.unwrap();
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    assert!(lost(T0 + REDISPATCH).await.is_empty(), "nothing was offered yet");
    let offer = || Command::Offer { tasks: vec![0] };
    f.step(run, offer(), T0).await;
    assert!(lost(T0 + REDISPATCH - Duration::from_millis(1)).await.is_empty());
    assert_eq!(lost(T0 + REDISPATCH).await, [(run, vec![0])].into(), "nobody took it");

    f.step(run, claim(0, worker(1)), after(1)).await;
    assert!(lost(T0 + REDISPATCH).await.is_empty(), "taken");
    let failure = Failure::new(FailureKind::WorkerLost, "gone");
    f.step(run, Command::Lost { task: 0, attempt: 1, worker: worker(1), failure }, after(2)).await;
    assert!(lost(T0 + REDISPATCH).await.is_empty(), "it waits for admission");

    let late = async |now: Timestamp| f.store.engine().runs_late(now, 10).await.unwrap();
    let deadline = T0 + Duration::from_secs(600);
    assert!(late(deadline - Duration::from_millis(1)).await.is_empty());
    assert_eq!(late(deadline).await, [run]);
    assert!(f.store.engine().runs_late(deadline, 0).await.unwrap().is_empty());
    f.step(run, Command::Wake, deadline).await;
    assert!(late(deadline).await.is_empty(), "ended");
}

async fn attempts_of_lost_workers_are_found(f: &Fixture) {
    let owner = f.owner("a").await;
    let engine = f.store.engine();
    let (one, two, silent) = (worker(1), worker(2), worker(3));
    for (n, w) in [(1, one), (2, two)] {
        engine.beat(&WorkerRow::beat(w, format!("w{n}"), 4, T0, LEASE)).await.unwrap();
    }
    let mut runs = Vec::new();
    for w in [one, two, silent] {
        let run = owner.submit().await;
        f.step(run, Command::Start { skip: vec![] }, T0).await;
        f.step(run, claim(0, w), T0).await;
        runs.push(run);
    }
    f.step(runs[0], began(0, one), T0).await;
    let expired = async |now: Timestamp| {
        let mut lost = engine.expired_attempts(now, 10).await.unwrap();
        lost.sort_by_key(|lost| lost.worker);
        lost.into_iter().map(|lost| (lost.run, lost.attempt, lost.worker)).collect::<Vec<_>>()
    };
    assert!(expired(T0 + LEASE).await.is_empty());
    engine.beat(&WorkerRow::beat(two, "w2", 4, after(5), LEASE)).await.unwrap();
    let now = T0 + LEASE + Duration::from_millis(1);
    assert_eq!(expired(now).await, [(runs[0], 1, one), (runs[2], 1, silent)]);
    assert_eq!(engine.workers(now).await.unwrap().len(), 1);

    engine.goodbye(two, after(6)).await.unwrap();
    engine.beat(&WorkerRow::beat(two, "w2", 4, after(7), LEASE)).await.unwrap();
    assert_eq!(expired(after(6)).await, [(runs[1], 1, two)], "a late beat does not revive it");
    assert_eq!(engine.expired_attempts(now, 2).await.unwrap().len(), 2);
}

async fn attempts_that_a_worker_does_not_know_are_found(f: &Fixture) {
    let owner = f.owner("a").await;
    let engine = f.store.engine();
    let mut attempts = Vec::new();
    for n in 0..3 {
        let run = owner.submit().await;
        f.step(run, Command::Start { skip: vec![] }, T0).await;
        f.step(run, claim(0, worker(1)), after(n)).await;
        attempts.push(AttemptRef { run, task: 0, attempt: 1 });
    }
    let mut held = engine.attempts_of(worker(1)).await.unwrap();
    held.sort_by_key(|attempt| attempt.run);
    assert_eq!(held, attempts);
    assert!(engine.attempts_of(worker(2)).await.unwrap().is_empty());
    let orphaned = engine.orphaned_attempts(worker(1), &attempts[..1], after(2)).await.unwrap();
    assert_eq!(orphaned, attempts[1..2], "the third was taken after the heartbeat was sent");
    assert!(engine.orphaned_attempts(worker(1), &attempts, after(9)).await.unwrap().is_empty());
}

async fn the_outbox_is_read_in_order_and_pruned(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let engine = f.store.engine();
    let record = f.load(run).await;
    let mut change = Transition::new(0, record.run, vec![], T0);
    change.outbox = (1..=3u64)
        .map(|n| OutboxMessage::new("tasks", format!("m{n}"), vec![0, 255], after(n)))
        .collect();
    let sent = change.outbox.clone();
    engine.commit(change).await.unwrap();
    let pending = async |limit, before: u64| {
        let messages = engine.unpublished(limit, after(before)).await.unwrap();
        messages.into_iter().map(|message| message.message_id).collect::<Vec<_>>()
    };
    assert_eq!(engine.unpublished(9, after(9)).await.unwrap(), sent);
    assert_eq!(pending(2, 9).await, ["m1", "m2"]);
    assert_eq!(pending(9, 2).await.len(), 1, "younger ones may still be on their way");

    let ids: Vec<_> = sent[..2].iter().map(|message| message.id).collect();
    engine.mark_published(&ids, after(10)).await.unwrap();
    engine.mark_published(&ids, after(99)).await.unwrap();
    engine.mark_published(&[], after(99)).await.unwrap();
    assert_eq!(pending(9, 9).await, ["m3"]);
    assert_eq!(engine.prune(after(10)).await.unwrap().outbox, 0);
    assert_eq!(engine.prune(after(11)).await.unwrap().outbox, 2, "marked again, not later");
    assert_eq!(pending(9, 9).await.len(), 1, "what is not published is never pruned");
}

async fn dead_workers_are_pruned(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let engine = f.store.engine();
    for n in 1..=3 {
        let row =
            WorkerRow::beat(worker(n), "w", 1, T0, Duration::from_secs(u64::try_from(n).unwrap()));
        engine.beat(&row).await.unwrap();
    }
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(2)), T0).await;
    assert_eq!(engine.prune(T0 + Duration::from_secs(3)).await.unwrap().workers, 1);
    let left = engine.workers(T0).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|row| row.worker).collect();
    assert_eq!(left, [worker(2), worker(3)], "one still holds something, one still lives");
}
