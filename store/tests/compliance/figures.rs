//! What the operator sees of the whole cluster.

use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::limits::LEASE;
use domain::run::{Command, RunState};
use domain::time::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use store::{FIGURES_STATEMENTS, Queued, WorkerRow, Workers};
use testkit::database::Kind;

use crate::fixture::{Fixture, T0, claim, worker};

on_both! {
    what_waits_is_counted,
    ended_workers_have_no_slots,
}

/// Runs that have ended long ago, beside the few that wait.
const ENDED: u32 = 20_000;

fn after(ms: u64) -> Timestamp {
    T0 + Duration::from_millis(ms)
}

async fn what_waits_is_counted(f: &Fixture) {
    let owner = f.owner("a").await;
    let waiting = async |now| f.store.engine().waiting(now, now).await.unwrap();
    let (first, second) = (owner.submit().await, owner.submit().await);
    let found = waiting(T0).await;
    assert_eq!(found.runs, [(RunState::Queued, 2)]);
    let [(tenant, queued)] = &found.queued[..] else { panic!("{:?}", found.queued) };
    assert_eq!((*tenant, queued.count), (owner.tenant.id(), 2));
    assert_eq!((found.ready, found.leased), (vec![], vec![]));
    assert_eq!(found.outbox, Queued::default(), "a run that waits for its turn needs no message");

    f.step(first, Command::Start { skip: vec![] }, after(5)).await;
    f.step(second, Command::Start { skip: vec![] }, after(7)).await;
    let found = waiting(after(8)).await;
    assert_eq!(found.ready, ready(2, 5));

    f.step(first, claim(0, worker(1)), after(10)).await;
    let found = waiting(after(10)).await;
    assert_eq!(found.ready, ready(1, 7));
    let leased = vec![("default".to_owned(), 1)];
    assert_eq!((found.leased, found.runs), (leased, vec![(RunState::Running, 2)]));

    let failure = Failure::new(FailureKind::WorkerLost, "gone");
    let lost = Command::Lost { task: 0, attempt: 1, worker: worker(1), failure };
    f.step(first, lost, after(20)).await;
    assert_eq!(waiting(after(21)).await.ready, ready(1, 7), "the second try is not due yet");
    let due = f.load(first).await.ready_since[0].unwrap();
    assert!(due > after(20), "after its backoff");
    assert_eq!(waiting(due).await.ready, ready(2, 7));

    f.step(first, Command::Cancel, after(30)).await;
    let found = waiting(due).await;
    assert_eq!((found.ready, found.runs), (ready(1, 7), vec![(RunState::Running, 1)]));
    assert_eq!(found.unarchived, Queued { count: 1, oldest: Some(after(30)) });
    assert_eq!(f.store.engine().waiting(due, after(29)).await.unwrap().unarchived.count, 0);
    f.store.engine().archive_event_log(first, b"{}\n").await.unwrap();
    assert_eq!(waiting(due).await.unarchived, Queued::default());
}

fn ready(count: u64, oldest_ms: u64) -> Vec<(String, Queued)> {
    vec![("default".to_owned(), Queued { count, oldest: Some(after(oldest_ms)) })]
}

async fn ended_workers_have_no_slots(f: &Fixture) {
    let engine = f.store.engine();
    let workers = async |now| {
        let mut found = engine.waiting(now, now).await.unwrap().workers;
        found.sort();
        found
    };
    let pool = |name: &str, count, slots| (name.to_owned(), Workers { count, slots });
    assert_eq!(workers(T0).await, []);
    for (n, slots, of) in [(1, 4, None), (2, 3, None), (3, 2, Some("gpu"))] {
        let beat = WorkerRow::beat(worker(n), "w".to_owned(), slots, T0, LEASE);
        engine.beat(&WorkerRow { pool: of.map(str::to_owned), ..beat }).await.unwrap();
    }
    assert_eq!(workers(T0).await, [pool("", 2, 7), pool("gpu", 1, 2)]);
    engine.goodbye(worker(1), T0).await.unwrap();
    assert_eq!(workers(T0).await, [pool("", 1, 3), pool("gpu", 1, 2)]);
    assert_eq!(workers(T0 + LEASE).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_runs_cost_the_figures_nothing_on_postgres() {
    let f = Fixture::new(Kind::Postgres).await;
    let owner = f.owner("a").await;
    let ended = owner.submit().await;
    f.step(ended, Command::Start { skip: vec![] }, T0).await;
    f.step(ended, Command::Cancel, T0).await;
    f.store.engine().archive_event_log(ended, b"{}\n").await.unwrap();
    let database = sea_orm::Database::connect(f.database.url()).await.unwrap();
    copy(&database, ENDED).await;
    let open = owner.submit().await;
    f.step(open, Command::Start { skip: vec![] }, T0).await;
    database.execute_unprepared("ANALYZE").await.unwrap();

    // A table of workers is never large; an index would not help.
    for (what, sql) in FIGURES_STATEMENTS.iter().filter(|(what, _)| *what != "workers") {
        let plan = explain(&database, sql).await;
        assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{what}:\n{plan}");
    }
    database.close().await.unwrap();
    let found = f.store.engine().waiting(T0, T0).await.unwrap();
    assert_eq!((found.runs, found.ready.len()), (vec![(RunState::Running, 1)], 1));
    f.close().await;
}

/// Copies the only run, its tasks and a published message of the outbox, so many times.
async fn copy(database: &DatabaseConnection, times: u32) {
    let run = format!(
        "INSERT INTO runs SELECT (r).* FROM (SELECT jsonb_populate_record(runs, \
         jsonb_build_object('id', gen_random_uuid())) AS r FROM runs, generate_series(1, {times})) c"
    );
    let tasks = "INSERT INTO tasks SELECT (t).* FROM (SELECT jsonb_populate_record(tasks, \
                 jsonb_build_object('run', runs.id)) AS t FROM tasks, runs \
                 WHERE runs.id <> tasks.run) c";
    let outbox = format!(
        "INSERT INTO outbox SELECT gen_random_uuid(), 'runs', 'm', '', {at}, {at} \
         FROM generate_series(1, {times})",
        at = T0.millis()
    );
    for sql in [run.as_str(), tasks, &outbox] {
        database.execute_unprepared(sql).await.unwrap();
    }
}

async fn explain(database: &DatabaseConnection, sql: &str) -> String {
    let sql = format!("EXPLAIN {}", sql.replace("$1", &T0.millis().to_string()));
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let rows = database.query_all_raw(statement).await.unwrap();
    let lines = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap());
    lines.collect::<Vec<_>>().join("\n")
}
