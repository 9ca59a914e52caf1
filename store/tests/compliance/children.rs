//! Runs that components of other runs start.

use domain::id::RunId;
use domain::run::Command;
use store::{Error, NewRun, Parent};
use uuid::Uuid;

use crate::fixture::{Fixture, Owner, T0, assert_not_found};

on_both! {
    a_request_of_a_task_is_one_child,
    a_later_attempt_asks_anew_for_what_did_not_succeed,
    concurrent_requests_are_one_child,
    an_ended_parent_gets_no_child,
    children_of_ended_parents_are_found,
    children_that_are_not_started_are_found_and_wait_for_no_turn,
}

fn child(owner: &Owner, run: RunId, attempt: u32) -> NewRun {
    let parent = Parent { run, task: 1, attempt, repeated: 0, depth: 1 };
    NewRun { parent: Some(parent), ..owner.new_run() }
}

async fn a_request_of_a_task_is_one_child(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let run = a.submit().await;
    let first = a.tenant.submit(child(&a, run, 1)).await.unwrap();
    let again = a.tenant.submit(child(&a, run, 1)).await.unwrap();
    assert_eq!((again.run, again.existing), (first.run, true));
    let mut others = [child(&a, run, 1), child(&a, run, 1), child(&a, run, 1)];
    others[0].parent.as_mut().unwrap().repeated = 1;
    others[1].parent.as_mut().unwrap().task = 2;
    others[2].request = serde_json::json!({"input_value": "another"});
    for other in others {
        assert!(!a.tenant.submit(other).await.unwrap().existing);
    }
    assert_eq!(f.load(first.run).await.depth, 1);
    assert_eq!(f.load(run).await.depth, 0);
    let header = a.tenant.run_header(first.run).await.unwrap();
    assert_eq!(header.parent, Some((run, 1)));
    assert_eq!(f.store.engine().open_children(run).await.unwrap().len(), 4);
    assert_not_found(b.tenant.submit(child(&b, run, 1)).await);
}

async fn a_later_attempt_asks_anew_for_what_did_not_succeed(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    let first = owner.tenant.submit(child(&owner, run, 1)).await.unwrap().run;
    let joined = owner.tenant.submit(child(&owner, run, 2)).await.unwrap();
    assert_eq!((joined.run, joined.existing), (first, true), "it is still under way");
    f.step(first, Command::Cancel, T0).await;
    let same = owner.tenant.submit(child(&owner, run, 1)).await.unwrap();
    assert_eq!((same.run, same.existing), (first, true), "the attempt that asked is told the end");
    let anew = owner.tenant.submit(child(&owner, run, 2)).await.unwrap();
    assert!(!anew.existing);
    assert_eq!(owner.tenant.submit(child(&owner, run, 3)).await.unwrap().run, anew.run);
}

async fn concurrent_requests_are_one_child(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    let other = f.another_process().await;
    let submissions = (0..8).map(|n| {
        let store = if n % 2 == 0 { f.store.clone() } else { other.clone() };
        let (tenant, new) = (store.tenant(owner.tenant.id()), child(&owner, run, 1));
        tokio::spawn(async move { tenant.submit(new).await })
    });
    let submitted: Vec<_> = futures::future::join_all(submissions)
        .await
        .into_iter()
        .map(|submitted| submitted.unwrap().unwrap())
        .collect();
    assert_eq!(submitted.iter().filter(|submitted| !submitted.existing).count(), 1);
    assert!(submitted.iter().all(|other| other.run == submitted[0].run));
    other.close().await.unwrap();
}

async fn an_ended_parent_gets_no_child(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Cancel, T0).await;
    let refused = owner.tenant.submit(child(&owner, run, 1)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_not_found(owner.tenant.submit(child(&owner, RunId(Uuid::nil()), 1)).await);
}

async fn children_of_ended_parents_are_found(f: &Fixture) {
    let owner = f.owner("a").await;
    let (run, other) = (owner.submit().await, owner.submit().await);
    let first = owner.tenant.submit(child(&owner, run, 1)).await.unwrap().run;
    owner.tenant.submit(child(&owner, other, 1)).await.unwrap();
    let orphans = async || f.store.engine().orphaned_runs(10).await.unwrap();
    assert!(orphans().await.is_empty());
    f.step(run, Command::Cancel, T0).await;
    assert_eq!(orphans().await, [first]);
    f.step(first, Command::Cancel, T0).await;
    assert!(orphans().await.is_empty());
    assert!(f.store.engine().open_children(run).await.unwrap().is_empty());
}

async fn children_that_are_not_started_are_found_and_wait_for_no_turn(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    let child = owner.tenant.submit(child(&owner, run, 1)).await.unwrap().run;
    let engine = f.store.engine();
    assert!(engine.pools_waiting().await.unwrap().is_empty());
    assert!(engine.unstarted_children(T0, 10).await.unwrap().is_empty(), "accepted just now");
    let later = T0 + std::time::Duration::from_millis(1);
    assert_eq!(engine.unstarted_children(later, 10).await.unwrap(), [child]);
    f.step(child, Command::Start { skip: vec![] }, T0).await;
    assert!(engine.unstarted_children(later, 10).await.unwrap().is_empty());
}
