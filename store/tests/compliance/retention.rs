//! What is removed once it is older than its tenant keeps it, and what stays.

use std::time::Duration;

use domain::id::RunId;
use domain::retention::Overrides;
use domain::run::Command;
use domain::time::Timestamp;
use proto::connection::ConnectionLog;
use proto::message::AttemptRef;
use store::{Error, Expired, MessageFilter, NewMessage, Page, RunFilter};
use uuid::Uuid;

use crate::fixture::{
    Fixture, Owner, T0, assert_not_found, claim, finish, result, transition, worker,
};
use crate::human;

on_both! {
    ended_runs_go_with_all_that_is_theirs,
    chat_messages_go_with_their_run_only_if_so_set,
    payloads_stay_while_somebody_refers_to_them_or_wanted_them,
    writers_of_a_payload_and_its_remover_do_not_hurt_each_other,
    one_holder_sweeps_at_a_time,
    what_is_set_holds_for_its_tenant,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Later than any payload of a test was touched: nothing is left alone for being young.
const ALWAYS: Timestamp = Timestamp(i64::MAX);

fn expired(owner: &Owner, ended_before: Timestamp) -> Expired {
    Expired { tenant: owner.tenant.id(), ended_before, messages: false }
}

/// A run whose first task has a large result and whose second one asks; then it is cancelled.
async fn ended(f: &Fixture, owner: &Owner, at: Timestamp) -> RunId {
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    let record = f.load(run).await;
    let decision = domain::run::decide(&record.run, &finish(0, worker(1)), T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.results = vec![result(0, 100_000)];
    f.store.engine().commit(change).await.unwrap();
    let attempt = AttemptRef { run, task: 0, attempt: 1 };
    let log = ConnectionLog { revision: 1, ..ConnectionLog::default() };
    f.store.engine().record_connections(worker(1), attempt, &log).await.unwrap();
    f.step(run, Command::Cancel, at).await;
    run
}

async fn payloads(f: &Fixture, owner: &Owner) -> Vec<Vec<u8>> {
    let engine = f.store.engine();
    engine.payloads_after(owner.tenant.id(), &[], ALWAYS, 100).await.unwrap()
}

async fn ended_runs_go_with_all_that_is_theirs(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let (old, older) = (ended(f, &owner, T0 + HOUR).await, ended(f, &owner, T0).await);
    let young = ended(f, &owner, T0 + 2 * HOUR).await;
    let open = owner.submit().await;
    engine.archive_event_log(old, b"a log").await.unwrap();
    let stranger = f.owner("b").await;
    let theirs = ended(f, &stranger, T0).await;

    let before = expired(&owner, T0 + 2 * HOUR);
    let removed = engine.remove_runs(&before, 1).await.unwrap();
    assert_eq!((removed.runs, removed.unarchived), (1, vec![older]), "the oldest first");
    let removed = engine.remove_runs(&before, 10).await.unwrap();
    assert_eq!((removed.runs, removed.unarchived), (1, vec![]));
    assert_eq!(removed.payloads.len(), 2, "a result and the log");
    assert_eq!(engine.remove_runs(&before, 10).await.unwrap().runs, 0);
    for gone in [old, older] {
        assert_not_found(owner.tenant.run(gone).await);
        assert_not_found(owner.tenant.event_log(gone).await);
        assert_eq!(engine.results(gone, &[0]).await.unwrap().len(), 0);
        assert_eq!(engine.load(gone).await.unwrap(), None);
    }
    assert_eq!(owner.tenant.run(young).await.unwrap().tasks.len(), 3);
    assert_eq!(owner.tenant.connections(young).await.unwrap().len(), 1);
    assert_eq!(engine.results(young, &[0]).await.unwrap().len(), 1);
    owner.tenant.run(open).await.unwrap();
    stranger.tenant.run(theirs).await.unwrap();
    let left = owner.tenant.runs(&RunFilter::default(), Page::all()).await.unwrap();
    assert_eq!(left.total, 2);
}

async fn chat_messages_go_with_their_run_only_if_so_set(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let say = async |run: Option<RunId>| {
        let new = NewMessage {
            id: None,
            flow: owner.flow,
            session_id: "s".into(),
            run,
            task: None,
            sender: "User".into(),
            sender_name: "User".into(),
            timestamp: T0,
            data: serde_json::json!({"text": "hi"}),
        };
        owner.tenant.store_message(new).await.unwrap();
    };
    let said = async || owner.tenant.messages(&MessageFilter::default()).await.unwrap().len();
    for (messages, left) in [(false, 2), (true, 2)] {
        let run = ended(f, &owner, T0).await;
        say(Some(run)).await;
        if !messages {
            say(None).await;
        }
        let expired = Expired { messages, ..expired(&owner, T0 + HOUR) };
        assert_eq!(engine.remove_runs(&expired, 10).await.unwrap().runs, 1);
        assert_eq!(said().await, left, "{messages}");
    }
}

async fn payloads_stay_while_somebody_refers_to_them_or_wanted_them(f: &Fixture) {
    let (owner, engine) = (f.owner("a").await, f.store.engine());
    let tenant = owner.tenant.id();
    let asking = owner.submit().await;
    f.step(asking, Command::Start { skip: vec![] }, T0).await;
    human::asks(f, asking, human::asked(&owner, 0, 1)).await;
    let (one, other) = (ended(f, &owner, T0).await, ended(f, &owner, T0 + HOUR).await);
    engine.archive_event_log(one, b"one").await.unwrap();
    engine.archive_event_log(other, b"other").await.unwrap();
    let all = payloads(f, &owner).await;
    assert_eq!(all.len(), 4, "what a cell saved, two logs, and one result of two runs");
    assert_eq!(
        engine.remove_payloads(tenant, &all, ALWAYS).await.unwrap(),
        0,
        "all are referred to"
    );

    let removed = engine.remove_runs(&expired(&owner, T0 + HOUR), 10).await.unwrap();
    assert_eq!((removed.runs, removed.payloads.len()), (1, 2));
    let young = Timestamp(0);
    assert_eq!(engine.remove_payloads(tenant, &removed.payloads, young).await.unwrap(), 0);
    let foreign = f.owner("b").await.tenant.id();
    assert_eq!(engine.remove_payloads(foreign, &all, ALWAYS).await.unwrap(), 0);
    assert_eq!(engine.remove_payloads(tenant, &all, ALWAYS).await.unwrap(), 1, "the log alone");
    assert_eq!(engine.results(other, &[0]).await.unwrap().len(), 1, "its result is still there");
    assert_eq!(owner.tenant.event_log(other).await.unwrap().as_deref(), Some(&b"other"[..]));

    // Finding a payload there is wanting it.
    let before = store::now();
    let again = ended(f, &owner, T0).await;
    engine.archive_event_log(again, b"other").await.unwrap();
    let untouched = engine.payloads_after(tenant, &[], before, 10).await.unwrap();
    assert_eq!(untouched.len(), 1, "only what the cell saved was not wanted since");

    f.step(asking, Command::Cancel, T0).await;
    owner.tenant.delete_flow(owner.flow).await.unwrap();
    let all = payloads(f, &owner).await;
    assert_eq!(engine.remove_payloads(tenant, &all, before).await.unwrap(), 1);
    assert_eq!(engine.remove_payloads(tenant, &all, ALWAYS).await.unwrap(), 2);
    assert!(payloads(f, &owner).await.is_empty());
}

/// Runs come and go, and with them the few payloads that all of them refer to; nothing is spared
/// for being young. No writer may fail, and no payload may be missing while a run refers to it.
async fn writers_of_a_payload_and_its_remover_do_not_hurt_each_other(f: &Fixture) {
    const WRITERS: usize = 4;
    const RUNS: usize = 25;
    let owner = f.owner("a").await;
    let tenant = owner.tenant.id();
    let write = async |writer: usize| {
        let store = f.another_process().await;
        for n in 0..RUNS {
            let run = owner.submit().await;
            f.step(run, Command::Cancel, T0).await;
            let log = vec![u8::try_from((n + writer) % 3).unwrap(); 1_500_000];
            // Gone already, if the remover was faster.
            match store.engine().archive_event_log(run, &log).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            match store.tenant(tenant).event_log(run).await {
                Ok(read) => assert!(read.is_none_or(|read| read == log)),
                Err(Error::NotFound { .. }) => {}
                // The run went between the two statements of the reader, and the payload with it.
                Err(Error::Corrupt { .. }) => {
                    assert_not_found(store.tenant(tenant).run_header(run).await);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        store.close().await.unwrap();
    };
    let done = tokio_util::sync::CancellationToken::new();
    let remove = async || {
        let store = f.another_process().await;
        let (engine, mut removed) = (store.engine(), 0);
        loop {
            let is_last = done.is_cancelled();
            engine.remove_runs(&expired(&owner, T0 + HOUR), 3).await.unwrap();
            let all = engine.payloads_after(tenant, &[], ALWAYS, 10).await.unwrap();
            removed += engine.remove_payloads(tenant, &all, ALWAYS).await.unwrap();
            if is_last && all.is_empty() {
                break;
            }
        }
        store.close().await.unwrap();
        removed
    };
    let writers = async {
        futures::future::join_all((0..WRITERS).map(write)).await;
        done.cancel();
    };
    let ((), removed) = futures::future::join(writers, remove()).await;
    assert!(removed > 3, "the same payloads came and went: {removed}");
    let left = owner.tenant.runs(&RunFilter::default(), Page::all()).await.unwrap();
    assert_eq!(left.total, 0);
}

async fn one_holder_sweeps_at_a_time(f: &Fixture) {
    let engine = f.store.engine();
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let hold = async |holder, after_s| {
        let now = T0 + Duration::from_secs(after_s);
        engine.hold_sweep("x", holder, now, Duration::from_secs(10)).await.unwrap()
    };
    assert!(hold(one, 0).await);
    assert!(!hold(other, 9).await);
    assert!(hold(one, 9).await, "goes on");
    assert!(!hold(other, 18).await);
    assert!(hold(other, 19).await, "the first one was silent for too long");
    assert!(!hold(one, 19).await);
    let elsewhere = engine.hold_sweep("y", one, T0, HOUR).await.unwrap();
    assert!(elsewhere, "another sweep is another matter");
}

async fn what_is_set_holds_for_its_tenant(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let set = Overrides { runs_days: Some(7), messages: None };
    a.tenant.set_retention(set).await.unwrap();
    assert_eq!(a.tenant.retention().await.unwrap(), set);
    assert_eq!(b.tenant.retention().await.unwrap(), Overrides::default());
    let all = f.store.engine().retentions().await.unwrap();
    let of = |owner: &Owner| all.iter().find(|(id, _)| *id == owner.tenant.id()).unwrap().1;
    assert_eq!((all.len(), of(&a), of(&b)), (2, set, Overrides::default()));
    let other = Overrides { runs_days: Some(0), messages: Some(true) };
    a.tenant.set_retention(other).await.unwrap();
    assert_eq!(a.tenant.retention().await.unwrap(), other);
    let nobody = f.store.tenant(domain::id::TenantId(Uuid::nil()));
    assert_not_found(nobody.set_retention(set).await);
}
