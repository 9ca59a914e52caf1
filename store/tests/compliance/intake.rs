//! Accepting runs.

use std::time::Duration;

use domain::id::{FlowId, UserId, VersionId};
use domain::run::{Command, RunState};
use proto::message::RunSubmitted;
use serde_json::json;
use store::{Error, Page, RunFilter};
use uuid::Uuid;

use crate::fixture::{Fixture, T0, assert_duplicate, assert_not_found};

on_both! {
    a_submission_is_a_run_with_tasks_and_a_message,
    a_submission_that_fails_leaves_nothing,
    an_idempotency_key_is_one_run,
    concurrent_repetitions_are_one_run,
    lists_are_filtered_and_paged,
}

async fn a_submission_is_a_run_with_tasks_and_a_message(f: &Fixture) {
    let owner = f.owner("a").await;
    let new = owner.new_run();
    let submitted = owner.tenant.submit(new.clone()).await.unwrap();
    assert_eq!((submitted.run, submitted.existing), (new.id, false));
    let record = f.load(new.id).await;
    assert_eq!(record.version, 0);
    assert_eq!(record.tenant, owner.tenant.id());
    assert_eq!((record.flow, record.flow_version), (owner.flow, owner.version));
    assert_eq!((record.run.deadline, &record.run.retry), (new.deadline, &new.retry));
    assert_eq!((&record.request, &record.limits), (&new.request, &new.limits));
    let needs: Vec<_> = record.run.tasks.iter().map(|task| task.depends_on.clone()).collect();
    assert_eq!(needs, [vec![], vec![0], vec![1]]);
    let messages = f.store.engine().unpublished(10, T0 + Duration::from_millis(1)).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].queue, "runs");
    assert_eq!(messages[0].message_id, format!("run:{}", new.id));
    let body: RunSubmitted = serde_json::from_slice(&messages[0].body).unwrap();
    assert_eq!((body.v, body.run), (1, new.id));
}

async fn a_submission_that_fails_leaves_nothing(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut unknown_flow = owner.new_run();
    unknown_flow.flow = FlowId(Uuid::new_v4());
    assert_not_found(owner.tenant.submit(unknown_flow).await);
    let mut unknown_version = owner.new_run();
    unknown_version.version = VersionId(Uuid::new_v4());
    assert_not_found(owner.tenant.submit(unknown_version).await);
    let mut unknown_user = owner.new_run();
    unknown_user.submitted_by = Some(UserId(Uuid::new_v4()));
    assert_not_found(owner.tenant.submit(unknown_user).await);
    let mut unstorable = owner.new_run();
    unstorable.session_id = "nul \0".into();
    let refused = owner.tenant.submit(unstorable).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "session id", .. })), "{refused:?}");
    assert_eq!(owner.tenant.runs(&RunFilter::default(), Page::all()).await.unwrap().total, 0);
    assert!(
        f.store.engine().unpublished(10, T0 + Duration::from_secs(1)).await.unwrap().is_empty()
    );

    let new = owner.new_run();
    owner.tenant.submit(new.clone()).await.unwrap();
    assert_duplicate(owner.tenant.submit(new).await, "run id");
}

async fn an_idempotency_key_is_one_run(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let keyed = |owner: &crate::fixture::Owner, input: &str| {
        let mut new = owner.new_run();
        new.request = json!({"input_value": input, "tweaks": {"x": 1, "y": 2}});
        new.idempotency_key = Some("key".into());
        new
    };
    let first = a.tenant.submit(keyed(&a, "one")).await.unwrap();
    let mut reordered = keyed(&a, "one");
    reordered.request = json!({"tweaks": {"y": 2, "x": 1}, "input_value": "one"});
    let again = a.tenant.submit(reordered).await.unwrap();
    assert_eq!((again.run, again.existing), (first.run, true));
    let other = a.tenant.submit(keyed(&a, "two")).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    let foreign = b.tenant.submit(keyed(&b, "two")).await.unwrap();
    assert!(!foreign.existing, "keys belong to a tenant");
    f.step(first.run, Command::Cancel, T0).await;
    let after = a.tenant.submit(keyed(&a, "one")).await.unwrap();
    assert_eq!((after.run, after.existing), (first.run, true), "also once the run has ended");
}

async fn concurrent_repetitions_are_one_run(f: &Fixture) {
    let owner = f.owner("a").await;
    let other = f.another_process().await;
    let submissions = (0..8).map(|n| {
        let mut new = owner.new_run();
        new.idempotency_key = Some("key".into());
        let store = if n % 2 == 0 { f.store.clone() } else { other.clone() };
        let tenant = store.tenant(owner.tenant.id());
        tokio::spawn(async move { tenant.submit(new).await })
    });
    let submitted: Vec<_> = futures::future::join_all(submissions)
        .await
        .into_iter()
        .map(|submitted| submitted.unwrap().unwrap())
        .collect();
    assert_eq!(submitted.iter().filter(|submitted| !submitted.existing).count(), 1);
    assert!(submitted.iter().all(|other| other.run == submitted[0].run));
    let messages = f.store.engine().unpublished(10, T0 + Duration::from_secs(1)).await.unwrap();
    assert_eq!(messages.len(), 1);
    other.close().await.unwrap();
}

async fn lists_are_filtered_and_paged(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut runs = Vec::new();
    for n in 0..5u64 {
        let mut new = owner.new_run();
        new.now = T0 + Duration::from_secs(n);
        new.session_id = format!("s{}", n % 2);
        runs.push(owner.tenant.submit(new).await.unwrap().run);
    }
    runs.reverse();
    f.step(runs[1], Command::Cancel, T0).await;
    let list = async |filter: RunFilter, page: Page| {
        let listing = owner.tenant.runs(&filter, page).await.unwrap();
        (listing.items.into_iter().map(|run| run.id).collect::<Vec<_>>(), listing.total)
    };
    assert_eq!(list(RunFilter::default(), Page::all()).await, (runs.clone(), 5));
    let page = Page { limit: 2, offset: 1 };
    assert_eq!(list(RunFilter::default(), page).await, (runs[1..3].to_vec(), 5));
    let cancelled = RunFilter { state: Some(RunState::Cancelled), ..RunFilter::default() };
    assert_eq!(list(cancelled, Page::all()).await, (vec![runs[1]], 1));
    let session = RunFilter { session_id: Some("s1".into()), ..RunFilter::default() };
    assert_eq!(list(session, Page::first(9)).await, (vec![runs[1], runs[3]], 2));
    let flow = RunFilter { flow: Some(FlowId(Uuid::nil())), ..RunFilter::default() };
    assert_eq!(list(flow, Page::all()).await, (vec![], 0));
}
