//! Runs that take over what an ended one finished, and dead letters.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use domain::run::{Command, Outcome, TaskState};
use serde_json::json;
use store::{Again, Concurrency, Error, Expired, NewRun, Page, RunFilter, Tenant, Turn};

use crate::fixture::{
    Fixture, Owner, T0, assert_not_found, claim, finish, result, transition, worker,
};

on_both! {
    a_run_takes_over_what_another_finished,
    nothing_is_accepted_without_what_it_takes_over,
    a_dead_letter_is_redriven_once,
    a_dismissed_letter_rests,
    only_a_run_that_ended_by_itself_runs_again,
}

/// Its first two tasks are done, with a large and a small result; the third one has failed.
async fn failed(f: &Fixture, new: NewRun, owner: &Owner) -> RunId {
    let run = owner.tenant.submit(new).await.unwrap().run;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    for (task, bytes) in [(0, 100_000), (1, 10)] {
        f.step(run, claim(task, worker(1)), T0).await;
        let record = f.load(run).await;
        let at = T0 + Duration::from_secs(task.into());
        let decision = domain::run::decide(&record.run, &finish(task, worker(1)), at).unwrap();
        let mut change = transition(&record, &decision, at);
        change.results = vec![result(task, bytes)];
        change.operations = Some(json!({"decided": task}));
        f.store.engine().commit(change).await.unwrap();
    }
    f.step(run, claim(2, worker(1)), T0).await;
    let outcome =
        Outcome::Failed(Failure::new(FailureKind::Component { exception: "E".into() }, "boom"));
    let failed = Command::Finish { task: 2, attempt: 1, worker: worker(1), outcome };
    f.step(run, failed, T0).await;
    run
}

fn again(of: RunId) -> Again {
    Again {
        of,
        kept: BTreeSet::from([0, 1]),
        replaced: BTreeSet::new(),
        plan: None,
        operations: Some(json!({"decided": 1})),
        context: None,
        redrive: false,
    }
}

fn detached(owner: &Owner) -> NewRun {
    NewRun { detached: true, ..owner.new_run() }
}

/// What the operator sees.
async fn counted(f: &Fixture) -> u64 {
    f.store.engine().waiting(T0, T0).await.unwrap().dead_letters
}

async fn letters(tenant: &Tenant) -> Vec<RunId> {
    let filter = RunFilter { dead_letter: true, ..RunFilter::default() };
    let found = tenant.runs(&filter, Page::all()).await.unwrap().items;
    assert!(found.iter().all(|run| run.dead_letter));
    found.into_iter().map(|run| run.id).collect()
}

async fn a_run_takes_over_what_another_finished(f: &Fixture) {
    let owner = f.owner("a").await;
    let concurrency = Some(Concurrency { key: "k".into(), most: 3 });
    let turn = Turn { concurrency: concurrency.clone(), ..Turn::default() };
    let first = failed(f, NewRun { turn, ..owner.new_run() }, &owner).await;
    let ended = owner.tenant.ended_run(first).await.unwrap();
    assert_eq!((ended.record.run.id, &ended.concurrency), (first, &concurrency));
    assert_eq!(ended.record.operations, json!({"decided": 1}));
    let new = NewRun { again: Some(again(first)), ..owner.new_run() };
    let second = owner.tenant.submit(new).await.unwrap().run;

    let record = f.load(second).await;
    let states: Vec<_> = record.run.tasks.iter().map(|task| (task.state, task.attempt)).collect();
    assert_eq!(states, [(TaskState::Done, 0), (TaskState::Done, 0), (TaskState::Waiting, 0)]);
    assert_eq!(record.operations, json!({"decided": 1}));
    let of = async |run| f.store.engine().results(run, &[0, 1, 2]).await.unwrap();
    assert_eq!(of(second).await.len(), 2);
    assert_eq!(of(second).await, of(first).await);
    let in_order = owner.tenant.results_in_order(first, &BTreeSet::from([1, 0])).await.unwrap();
    assert_eq!(in_order.iter().map(|(task, _)| *task).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(owner.tenant.run_header(second).await.unwrap().rerun_of, Some(first));
    let filter = RunFilter { rerun_of: Some(first), ..RunFilter::default() };
    let found = owner.tenant.runs(&filter, Page::all()).await.unwrap().items;
    assert_eq!(found.iter().map(|run| run.id).collect::<Vec<_>>(), [second]);

    let decision = f.step(second, Command::Start { skip: vec![] }, T0).await;
    let record = f.load(second).await;
    assert_eq!(record.run.tasks[2].state, TaskState::Ready, "{decision:?}");
    // The earlier run may go: nothing of the new one is the earlier one's.
    let engine = f.store.engine();
    engine.archive_event_log(first, b"log").await.unwrap();
    let late = T0 + Duration::from_secs(1_000);
    let expired = Expired { tenant: owner.tenant.id(), ended_before: late, messages: false };
    assert_eq!(engine.remove_runs(&expired, 10).await.unwrap().runs, 1);
    assert_not_found(owner.tenant.run_header(first).await);
    assert_eq!(of(second).await.len(), 2);
}

async fn nothing_is_accepted_without_what_it_takes_over(f: &Fixture) {
    let (owner, stranger) = (f.owner("a").await, f.owner("b").await);
    let first = failed(f, detached(&owner), &owner).await;
    let mut lacking = again(first);
    lacking.kept.insert(2);
    let new = NewRun { again: Some(lacking), ..owner.new_run() };
    let refused = owner.tenant.submit(new).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let new = NewRun { again: Some(again(first)), ..stranger.new_run() };
    let refused = stranger.tenant.submit(new).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let all = RunFilter::default();
    assert_eq!(owner.tenant.runs(&all, Page::all()).await.unwrap().total, 1);
    assert_eq!(stranger.tenant.runs(&all, Page::all()).await.unwrap().total, 0);
    assert_eq!(letters(&owner.tenant).await, [first], "what was refused settles nothing");
}

async fn a_dead_letter_is_redriven_once(f: &Fixture) {
    let owner = f.owner("a").await;
    failed(f, owner.new_run(), &owner).await;
    let letter = failed(f, detached(&owner), &owner).await;
    assert_eq!(letters(&owner.tenant).await, [letter], "somebody waited for the other");
    let redrives = (0..6).map(|_| {
        let again = Some(Again { redrive: true, ..again(letter) });
        let new = NewRun { again, ..detached(&owner) };
        let tenant = owner.tenant.clone();
        tokio::spawn(async move { tenant.submit(new).await })
    });
    let redriven = futures::future::join_all(redrives).await;
    let (done, refused): (Vec<_>, Vec<_>) =
        redriven.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    let conflicts = refused.iter().all(|refused| matches!(refused, Err(Error::Conflict { .. })));
    assert!(conflicts, "{refused:?}");
    assert_eq!(letters(&owner.tenant).await, []);
}

async fn a_dismissed_letter_rests(f: &Fixture) {
    let (owner, stranger) = (f.owner("a").await, f.owner("b").await);
    let letter = failed(f, detached(&owner), &owner).await;
    assert_not_found(stranger.tenant.dismiss(letter).await);
    assert_eq!(counted(f).await, 1);
    owner.tenant.dismiss(letter).await.unwrap();
    assert_eq!(letters(&owner.tenant).await, []);
    assert_eq!(counted(f).await, 0);
    let twice = owner.tenant.dismiss(letter).await;
    assert!(matches!(twice, Err(Error::Conflict { .. })), "{twice:?}");
}

async fn only_a_run_that_ended_by_itself_runs_again(f: &Fixture) {
    let (owner, stranger) = (f.owner("a").await, f.owner("b").await);
    let open = owner.submit().await;
    let refused = owner.tenant.ended_run(open).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let letter = failed(f, detached(&owner), &owner).await;
    assert_not_found(stranger.tenant.ended_run(letter).await);
}
