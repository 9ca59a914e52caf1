//! What admission reads and remembers.

use std::time::Duration;

use domain::admission::{
    FlowSettings, Held, LimitKey, ReadyTask, RunLimit, Shares, TenantSettings,
};
use domain::id::{RunId, TenantId};
use domain::limits::LEASE;
use domain::retry::RetryPolicy;
use domain::run::{Command, RunState, decide};
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use store::{
    AdmissionSettings, Concurrency, Error, NewApiKey, NewRun, NewTask, PoolSize, Turn, WorkerRow,
};
use uuid::Uuid;

use crate::fixture::{
    Fixture, Owner, T0, assert_not_found, claim, finish, task, transition, worker,
};

on_both! {
    what_waits_is_found_by_queue_and_tenant,
    what_is_held_is_offered_leased_or_running,
    runs_wait_in_order_and_limits_pass_some_over,
    delayed_runs_wait_outside_the_queue,
    shares_are_remembered,
    workers_are_counted_by_pool,
    settings_are_kept_per_tenant_flow_and_key,
    terms_of_tasks_are_kept,
    a_paused_run_weighs_nothing,
    a_rate_limit_lets_bursts_through_and_then_an_even_pace,
    one_round_at_a_time,
}

const NONE: &[LimitKey] = &[];

async fn start(f: &Fixture, run: RunId) {
    f.step(run, Command::Start { skip: vec![] }, T0).await;
}

async fn submit(owner: &Owner, turn: Turn) -> RunId {
    owner.tenant.submit(NewRun { turn, ..owner.new_run() }).await.unwrap().run
}

async fn queued(f: &Fixture, pool: &str, owner: &Owner, reached: &[LimitKey]) -> Vec<RunId> {
    let settings = AdmissionSettings::default();
    let tenant = owner.tenant.id();
    let engine = f.store.engine();
    let runs = engine.queued_runs(pool, tenant, &settings, reached, 10).await.unwrap();
    runs.into_iter().map(|run| run.run).collect()
}

/// As a query gives them: tenants in the order of their ids.
fn in_order(mut tenants: Vec<TenantId>) -> Vec<TenantId> {
    tenants.sort();
    tenants
}

async fn what_waits_is_found_by_queue_and_tenant(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let engine = f.store.engine();
    assert!(engine.queues_waiting().await.unwrap().is_empty());
    let wide = vec![task("A", &[]), task("B", &[]), task("C", &[])];
    let runs = [
        a.submit().await,
        b.tenant.submit(NewRun { tasks: wide, ..b.new_run() }).await.unwrap().run,
    ];
    let tenants = in_order(vec![a.tenant.id(), b.tenant.id()]);
    assert_eq!(engine.pools_waiting().await.unwrap(), [(String::new(), tenants.clone())]);
    for run in runs {
        start(f, run).await;
    }
    assert!(engine.pools_waiting().await.unwrap().is_empty());
    assert_eq!(engine.queues_waiting().await.unwrap(), [("default".to_owned(), tenants)]);
    let ready = engine.ready_tasks("default", b.tenant.id(), T0, 2).await.unwrap();
    let expected = |task| ReadyTask { run: runs[1], task, priority: 0 };
    assert_eq!(ready, [expected(0), expected(1)]);
    f.step(runs[0], Command::Offer { tasks: vec![0] }, T0).await;
    let left = engine.queues_waiting().await.unwrap();
    assert_eq!(left, [("default".to_owned(), vec![b.tenant.id()])]);
    assert!(engine.ready_tasks("other", b.tenant.id(), T0, 2).await.unwrap().is_empty());
}

async fn what_is_held_is_offered_leased_or_running(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    start(f, run).await;
    let held = async || f.store.engine().held_slots().await.unwrap();
    assert!(held().await.is_empty(), "a task that waits holds nothing");
    let one = |held| [("default".to_owned(), owner.tenant.id(), held)];
    f.step(run, Command::Offer { tasks: vec![0] }, T0).await;
    assert_eq!(held().await, one(Held { offered: 1, in_slots: 0 }));
    f.step(run, claim(0, worker(1)), T0).await;
    assert_eq!(held().await, one(Held { offered: 0, in_slots: 1 }));
    f.step(run, finish(0, worker(1)), T0).await;
    assert!(held().await.is_empty());
}

async fn runs_wait_in_order_and_limits_pass_some_over(f: &Fixture) {
    let owner = f.owner("a").await;
    let keyed = |key: &str| Some(Concurrency { key: key.into(), most: 2 });
    let first = submit(&owner, Turn::default()).await;
    let second = submit(&owner, Turn { concurrency: keyed("k"), ..Turn::default() }).await;
    let urgent = submit(&owner, Turn { priority: 5, ..Turn::default() }).await;
    let elsewhere = submit(&owner, Turn { pool: Some("gpu".into()), ..Turn::default() }).await;
    assert_eq!(queued(f, "", &owner, NONE).await, [urgent, first, second]);
    assert_eq!(queued(f, "gpu", &owner, NONE).await, [elsewhere]);
    let k = LimitKey::Custom("k".into());
    assert_eq!(queued(f, "", &owner, std::slice::from_ref(&k)).await, [urgent, first]);
    assert!(queued(f, "", &owner, &[LimitKey::Flow(owner.flow)]).await.is_empty());
    assert!(queued(f, "", &owner, &[LimitKey::Tenant]).await.is_empty());

    let settings = AdmissionSettings {
        tenants: [(
            owner.tenant.id(),
            TenantSettings { runs_max: Some(7), ..TenantSettings::default() },
        )]
        .into(),
        ..AdmissionSettings::default()
    };
    let engine = f.store.engine();
    let runs = engine.queued_runs("", owner.tenant.id(), &settings, NONE, 10).await.unwrap();
    let limits =
        [RunLimit { key: LimitKey::Tenant, most: 7 }, RunLimit { key: k.clone(), most: 2 }];
    assert_eq!(runs[2].limits, limits);
    assert_eq!(runs[0].priority, 5);

    start(f, second).await;
    let open = engine.open_runs(&[owner.tenant.id()]).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].runs, open[0].keys.contains(&k)), (1, true));
    assert!(engine.open_runs(&[TenantId(Uuid::nil())]).await.unwrap().is_empty());
}

async fn delayed_runs_wait_outside_the_queue(f: &Fixture) {
    let owner = f.owner("a").await;
    let later = T0 + Duration::from_secs(60);
    let run = submit(&owner, Turn { not_before: Some(later), ..Turn::default() }).await;
    let engine = f.store.engine();
    assert!(engine.pools_waiting().await.unwrap().is_empty());
    assert_eq!(engine.end_delays(later - Duration::from_millis(1)).await.unwrap(), 0);
    assert_eq!(engine.end_delays(later).await.unwrap(), 1);
    assert_eq!(queued(f, "", &owner, NONE).await, [run]);
    assert_eq!(engine.end_delays(later).await.unwrap(), 0);
}

async fn shares_are_remembered(f: &Fixture) {
    let engine = f.store.engine();
    let known = (1..1_500u128).map(|n| (TenantId(Uuid::from_u128(n)), u64::try_from(n).unwrap()));
    let shares = Shares { at: T0, present: 7, known: known.collect() };
    engine.keep_shares("default", &shares).await.unwrap();
    engine.keep_shares("gpu/1", &Shares::default()).await.unwrap();
    let read = engine.shares().await.unwrap();
    assert_eq!(
        read,
        [("default".to_owned(), shares), ("gpu/1".to_owned(), Shares::default())].into()
    );
    let fewer = Shares { at: T0, present: 9, known: [(TenantId(Uuid::nil()), 10)].into() };
    engine.keep_shares("default", &fewer).await.unwrap();
    assert_eq!(engine.shares().await.unwrap()["default"], fewer);
}

async fn workers_are_counted_by_pool(f: &Fixture) {
    let engine = f.store.engine();
    for (n, pool) in [(1, None), (2, Some("gpu")), (3, Some("gpu"))] {
        let beat = WorkerRow::beat(worker(n), format!("w{n}"), 4, T0, LEASE);
        engine.beat(&beat.of_pool(pool.map(str::to_owned))).await.unwrap();
    }
    engine.goodbye(worker(3), T0).await.unwrap();
    let one = PoolSize { workers: 1, slots: 4 };
    let sizes = engine.pool_sizes(T0).await.unwrap();
    assert_eq!(sizes, [(String::new(), one), ("gpu".to_owned(), one)].into());
    assert!(engine.pool_sizes(T0 + LEASE + Duration::from_millis(1)).await.unwrap().is_empty());
}

async fn settings_are_kept_per_tenant_flow_and_key(f: &Fixture) {
    let (a, b) = (f.owner("a").await, f.owner("b").await);
    let (ours, theirs) = (&a.tenant, &b.tenant);
    assert_eq!(ours.admission().await.unwrap(), TenantSettings::default());
    let set = TenantSettings { weight: Some(300), runs_max: Some(4), ..TenantSettings::default() };
    ours.set_admission(&set).await.unwrap();
    let flow =
        FlowSettings { runs_max: Some(2), pool: Some("gpu".into()), ..FlowSettings::default() };
    ours.set_flow_admission(a.flow, &flow).await.unwrap();
    let user = ours
        .create_user(store::NewUser {
            username: "u".into(),
            password: store::Secret::new("correct horse battery"),
            is_superuser: false,
        })
        .await
        .unwrap()
        .id;
    let key = NewApiKey { user, name: "k".into(), scopes: Vec::new(), expires: None };
    let key = ours.create_api_key(key).await.unwrap().key.id;
    ours.set_key_runs_max(key, Some(1)).await.unwrap();

    assert_eq!(ours.admission().await.unwrap(), set);
    assert_eq!(ours.flow_admission(a.flow).await.unwrap(), flow);
    assert_eq!(ours.key_runs_max(key).await.unwrap(), Some(1));
    assert_eq!(theirs.admission().await.unwrap(), TenantSettings::default());
    assert_not_found(theirs.flow_admission(a.flow).await);
    assert_not_found(theirs.set_flow_admission(a.flow, &flow).await);
    assert_not_found(theirs.key_runs_max(key).await);
    assert_not_found(theirs.set_key_runs_max(key, None).await);

    let all = f.store.engine().admission_settings().await.unwrap();
    let expected = AdmissionSettings {
        tenants: [(ours.id(), set)].into(),
        flows: [(a.flow, 2)].into(),
        keys: [(key, 1)].into(),
    };
    assert_eq!(all, expected);
    ours.set_admission(&TenantSettings::default()).await.unwrap();
    ours.set_flow_admission(a.flow, &FlowSettings::default()).await.unwrap();
    ours.set_key_runs_max(key, None).await.unwrap();
    let all = f.store.engine().admission_settings().await.unwrap();
    assert_eq!(all, AdmissionSettings::default());
}

async fn terms_of_tasks_are_kept(f: &Fixture) {
    let owner = f.owner("a").await;
    let retry = RetryPolicy { attempts_max: 7, ..RetryPolicy::default() };
    let terms = TaskTerms { retry: Some(retry), pool: Some("gpu".into()) };
    let tasks = vec![NewTask { terms: terms.clone(), ..task("A", &[]) }, task("B", &[0])];
    let run = owner.tenant.submit(NewRun { tasks, ..owner.new_run() }).await.unwrap().run;
    let record = f.load(run).await;
    let found: Vec<&TaskTerms> = record.run.tasks.iter().map(|task| &task.terms).collect();
    assert_eq!(found, [&terms, &TaskTerms::default()]);
    let standing = owner.tenant.standing(run, T0).await.unwrap();
    assert_eq!(standing.queues[&0].name.as_deref(), Some("gpu"));
    assert_eq!(standing.queues.len(), 1);
    let decision = decide(&record.run, &Command::Start { skip: vec![] }, T0).unwrap();
    let mut start = transition(&record, &decision, T0);
    start.queues = [(0, "gpu".into())].into();
    f.store.engine().commit(start).await.unwrap();
    let waiting = f.store.engine().queues_waiting().await.unwrap();
    assert_eq!(waiting, [("gpu".to_owned(), vec![owner.tenant.id()])]);
}

async fn a_paused_run_weighs_nothing(f: &Fixture) {
    let owner = f.owner("a").await;
    let tenant = [owner.tenant.id()];
    let engine = f.store.engine();
    let run = owner.submit().await;
    start(f, run).await;
    f.step(run, Command::Offer { tasks: vec![0] }, T0).await;
    assert_eq!(engine.open_runs(&tenant).await.unwrap().len(), 1);
    assert_eq!(engine.held_slots().await.unwrap().len(), 1);
    f.step(run, Command::Pause, T0).await;
    let record = f.load(run).await;
    assert_eq!((record.run.state, record.run.suspended), (RunState::Paused, Some(T0)));
    assert!(engine.open_runs(&tenant).await.unwrap().is_empty());
    assert!(engine.held_slots().await.unwrap().is_empty());
    assert!(engine.queues_waiting().await.unwrap().is_empty());
    assert!(engine.pools_waiting().await.unwrap().is_empty());
    let later = T0 + Duration::from_secs(9_000);
    assert!(engine.runs_late(later, 9).await.unwrap().is_empty());
    f.step(run, Command::Unpause, later).await;
    assert_eq!(f.load(run).await.run.deadline, T0 + Duration::from_secs(9_600));
    assert_eq!(queued(f, "", &owner, NONE).await, [run]);
}

async fn a_rate_limit_lets_bursts_through_and_then_an_even_pace(f: &Fixture) {
    let owner = f.owner("a").await;
    let at = async |now: Timestamp| {
        let turn = Turn { per_minute: Some(60), ..Turn::default() };
        owner.tenant.submit(NewRun { turn, now, ..owner.new_run() }).await
    };
    let mut accepted = 0;
    let refused = loop {
        match at(T0).await {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 100, "nothing is ever refused");
    };
    assert_eq!(accepted, 11, "what comes in ten seconds may come at once");
    let Error::TooFast { per_minute: 60, after } = refused else { panic!("{refused:?}") };
    assert_eq!(after, Duration::from_secs(1));
    assert!(at(T0 + after - Duration::from_millis(1)).await.is_err());
    at(T0 + after).await.unwrap();
    assert!(at(T0 + after).await.is_err());
    assert_eq!(owner.tenant.queued_runs(100).await.unwrap(), 12, "a refused run is not there");
    assert_eq!(owner.tenant.queued_runs(5).await.unwrap(), 5);
    at(T0 + Duration::from_secs(600)).await.unwrap();
}

async fn one_round_at_a_time(f: &Fixture) {
    let engine = f.store.engine();
    let first = engine.lock_round().await.unwrap();
    assert!(first.is_some());
    if matches!(f.database.kind(), testkit::database::Kind::Postgres) {
        assert!(engine.lock_round().await.unwrap().is_none());
    }
    drop(first);
    // A transaction that is dropped is undone when its connection is next used.
    let again = async || engine.lock_round().await.unwrap().is_some();
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !again().await {
        assert!(tokio::time::Instant::now() < until, "the lock is never let go");
        tokio::task::yield_now().await;
    }
}
