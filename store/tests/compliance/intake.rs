//! Accepting runs.

use std::time::Duration;

use domain::id::{FlowId, UserId, VersionId};
use domain::run::{Command, RunState};
use serde_json::json;
use store::{Error, Page, RunFilter, Secret};
use uuid::Uuid;

use crate::fixture::{Fixture, T0, assert_duplicate, assert_not_found};

on_both! {
    a_submission_is_a_run_with_tasks_that_waits_for_its_turn,
    submissions_at_the_same_time_each_have_their_own_answer,
    a_flood_of_submissions_is_written_whole,
    a_submission_that_fails_leaves_nothing,
    an_idempotency_key_is_one_run,
    concurrent_repetitions_are_one_run,
    lists_are_filtered_and_paged,
}

async fn a_submission_is_a_run_with_tasks_that_waits_for_its_turn(f: &Fixture) {
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
    let engine = f.store.engine();
    let (pool, mine) = (String::new(), owner.tenant.id());
    assert_eq!(engine.pools_waiting().await.unwrap(), [(pool, vec![mine])], "a round finds it");
    let later = T0 + Duration::from_millis(1);
    assert!(engine.unpublished(10, later).await.unwrap().is_empty(), "it needs no message");
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
    let sealed = async |input: &str| {
        let mut new = keyed(&a, input);
        new.idempotency_key = Some("with values".into());
        let values = [("V".to_owned(), Secret::new("v"))].into();
        new.request["variables"] = json!(a.tenant.seal_for_run(new.id, &values).await.unwrap());
        a.tenant.submit(new).await
    };
    let with_values = sealed("one").await.unwrap();
    let repeated = sealed("one").await.unwrap();
    assert_eq!((repeated.run, repeated.existing), (with_values.run, true), "sealed another time");
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
    assert_eq!(owner.tenant.runs(&RunFilter::default(), Page::all()).await.unwrap().total, 1);
    other.close().await.unwrap();
}

/// All but the first are written together, or would be: each has a fault of its own.
async fn submissions_at_the_same_time_each_have_their_own_answer(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let known = a.submit().await;
    let keyed = |input: &str| {
        let mut new = a.new_run();
        new.request = json!({"input_value": input});
        new.idempotency_key = Some("key".into());
        new
    };
    let mut foreign_flow = a.new_run();
    foreign_flow.flow = b.flow;
    let mut foreign_version = a.new_run();
    foreign_version.version = b.version;
    let mut taken = a.new_run();
    taken.id = known;
    let good: Vec<_> = (0..6).map(|_| a.new_run()).collect();
    let mut all = vec![keyed("one"), foreign_flow, keyed("one"), foreign_version, taken];
    all.extend(good.iter().cloned());
    all.push(keyed("two"));
    let submissions = all.into_iter().map(|new| a.tenant.submit(new));
    let of_b = async { vec![b.tenant.submit(b.new_run()).await] };
    let (of_a, of_b) = tokio::join!(futures::future::join_all(submissions), of_b);
    assert!(of_b.iter().all(Result::is_ok), "{of_b:?}");
    let mut of_a = of_a.into_iter();
    let mut next = || of_a.next().unwrap();
    let first = next();
    assert_not_found(next());
    let again = next();
    assert_not_found(next());
    assert_duplicate(next(), "run id");
    for new in &good {
        let submitted = next().unwrap();
        assert_eq!((submitted.run, submitted.existing), (new.id, false));
        assert_eq!(f.load(new.id).await.run.tasks.len(), 3);
    }
    // Which of the two requests came first is open; the other one is in conflict with it.
    let other = next();
    match (&first, &again) {
        (Ok(first), Ok(again)) => {
            assert_eq!(first.run, again.run);
            assert_ne!(first.existing, again.existing);
            assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
        }
        (Err(Error::Conflict { .. }), Err(Error::Conflict { .. })) => {
            assert!(!other.unwrap().existing)
        }
        neither => panic!("{neither:?}"),
    }
    let total = a.tenant.runs(&RunFilter::default(), Page::all()).await.unwrap().total;
    assert_eq!(total, 1 + 1 + 6, "what was there, what has the key, what has no fault");
}

async fn a_flood_of_submissions_is_written_whole(f: &Fixture) {
    let owners = [f.owner("a").await, f.owner("b").await];
    let new: Vec<_> = (0..150).map(|n: usize| &owners[n % 2]).collect();
    let submissions = new.iter().map(|owner| async {
        let (new, tenant) = (owner.new_run(), owner.tenant.id());
        (owner.tenant.submit(new.clone()).await.unwrap(), new, tenant)
    });
    for (submitted, new, tenant) in futures::future::join_all(submissions).await {
        assert_eq!((submitted.run, submitted.existing), (new.id, false));
        let record = f.load(new.id).await;
        assert_eq!((record.tenant, record.flow_version), (tenant, new.version));
        assert_eq!((record.flow_name.as_str(), record.run.tasks.len()), ("Echo", 3));
    }
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
    let mine =
        |state| RunFilter { flow: Some(owner.flow), state: Some(state), ..RunFilter::default() };
    assert_eq!(list(mine(RunState::Cancelled), Page::all()).await, (vec![runs[1]], 1));
    let queued = [&runs[..1], &runs[2..]].concat();
    assert_eq!(list(mine(RunState::Queued), Page::all()).await, (queued, 4));
    assert_eq!(list(mine(RunState::Completed), Page::all()).await, (vec![], 0));
}
