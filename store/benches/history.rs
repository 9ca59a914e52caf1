//! What millions of ended runs cost those that follow, and what removing them costs.
//!
//! ```sh
//! FLOWCELL_TEST_POSTGRES=postgres://… cargo bench -p flowcell-store --bench history -- --runs 2500000
//! ```
//! Postgres only, in a database of its own that goes at the end; about 1.9 kB a run. Every figure is
//! taken through the store's own methods, first without ended runs, then with them, then while they
//! are removed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends with the first thing that is wrong"
)]

extern crate flowcell_store as store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::id::{FlowId, RunId, TenantId, VersionId, WorkerEpoch};
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use domain::run::{Command, Outcome, RunState, decide};
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::seal::KeyEncryptionKey;
use store::{
    Expired, NewRun, NewTask, Page, RunCursor, RunFilter, Settings, Store, Tenant, Transition, now,
};
use testkit::database::Database;
use uuid::Uuid;

const BASE: &str = include_str!("history_base.sql");
const BATCH: &str = include_str!("history_batch.sql");

/// Ended runs of one generating transaction.
const BATCH_RUNS: u64 = 100_000;

/// When the first of them was accepted, and a second later each next one.
const FIRST: i64 = 1_700_000_000_000;

const REPEATS: usize = 200;

struct World {
    store: Store,
    sql: DatabaseConnection,
    tenant: Tenant,
    flow: FlowId,
    version: VersionId,
}

#[tokio::main]
async fn main() {
    let runs = runs_wanted();
    let database = Database::postgres().await.unwrap();
    let world = World::new(&database).await;
    world.measure(0).await;
    world.fill(runs).await;
    world.measure(runs).await;
    world.remove(runs).await;
    world.sql.close().await.unwrap();
    world.store.close().await.unwrap();
}

/// `--runs N`; whatever else cargo passes is not for us.
fn runs_wanted() -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let wanted = arguments.windows(2).find(|pair| pair[0] == "--runs");
    wanted.map_or(200_000, |pair| pair[1].parse().unwrap())
}

/// The id that the SQL gives: `md5(text)::uuid`.
async fn id(sql: &DatabaseConnection, text: &str) -> Uuid {
    let query = format!("SELECT md5('{text}')::uuid");
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, query);
    sql.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

impl World {
    async fn new(database: &Database) -> Self {
        let settings = Settings { url: database.url().to_owned(), connections_max: 4 };
        let store = Store::connect(&settings, KeyEncryptionKey::generate()).await.unwrap();
        store.migrate().await.unwrap();
        let mut options = sea_orm::ConnectOptions::new(database.url());
        options.max_connections(1).sqlx_logging(false);
        let sql = sea_orm::Database::connect(options).await.unwrap();
        sql.execute_unprepared(BASE).await.unwrap();
        let tenant = store.tenant(TenantId(id(&sql, "tenant0").await));
        let flow = FlowId(id(&sql, "flow0.3").await);
        let version = VersionId(id(&sql, "version0.3").await);
        Self { store, sql, tenant, flow, version }
    }

    async fn fill(&self, runs: u64) {
        let started = Instant::now();
        let mut first = 0;
        while first < runs {
            let last = (first + BATCH_RUNS).min(runs) - 1;
            let batch =
                BATCH.replace("{first}", &first.to_string()).replace("{last}", &last.to_string());
            let tx = self.sql.begin().await.unwrap();
            tx.execute_unprepared(&batch).await.unwrap();
            tx.commit().await.unwrap();
            first = last + 1;
        }
        self.sql.execute_unprepared("VACUUM ANALYZE").await.unwrap();
        println!("{runs} ended runs made in {:.0} s", started.elapsed().as_secs_f64());
        self.sizes().await;
    }

    async fn sizes(&self) {
        let query = "SELECT c.relname::text, pg_total_relation_size(c.oid), s.n_dead_tup \
                     FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid \
                     ORDER BY 2 DESC LIMIT 6";
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, query);
        for row in self.sql.query_all_raw(statement).await.unwrap() {
            let (name, bytes, dead): (String, i64, i64) = (
                row.try_get_by_index(0).unwrap(),
                row.try_get_by_index(1).unwrap(),
                row.try_get_by_index(2).unwrap(),
            );
            println!("  {name}: {} MB, {dead} dead rows", bytes / 1_000_000);
        }
    }

    async fn measure(&self, runs: u64) {
        println!("\nwith {runs} ended runs: p50, p99 in ms");
        self.lists(runs).await;
        let engine = self.store.engine();
        repeat("runs that are late", || async {
            engine.runs_late(now(), 200).await.unwrap();
        })
        .await;
        repeat("a round of admission", || async {
            engine.queues_waiting().await.unwrap();
            engine.pools_waiting().await.unwrap();
            engine.held_slots().await.unwrap();
        })
        .await;
        repeat("event logs to archive", || async {
            engine.runs_to_archive(now(), 200).await.unwrap();
        })
        .await;
        repeat("answered questions", || async {
            engine.runs_answered(200).await.unwrap();
        })
        .await;
        repeat("orphans", || async {
            engine.orphaned_runs(200).await.unwrap();
        })
        .await;
        let mut submits = Vec::new();
        let mut commits = Vec::new();
        for _ in 0..REPEATS {
            let began = Instant::now();
            let run = self.submit().await;
            submits.push(began.elapsed());
            self.walk(run, &mut commits).await;
        }
        show("submit a run of three tasks", &mut submits);
        show("commit a transition", &mut commits);
    }

    async fn lists(&self, runs: u64) {
        let all = RunFilter::default;
        let middle = Timestamp(FIRST + i64::try_from(runs / 2).unwrap() * 1_000);
        let deep = RunCursor { created: middle, id: RunId(Uuid::nil()) };
        let flow = Some(self.flow);
        let session = Some("session 3".to_owned());
        let lists = [
            ("list: newest", all()),
            ("list: a page in the middle", RunFilter { after: Some(deep), ..all() }),
            ("list: of a flow", RunFilter { flow, ..all() }),
            ("list: of a flow, in the middle", RunFilter { flow, after: Some(deep), ..all() }),
            ("list: failed", RunFilter { state: Some(RunState::Failed), ..all() }),
            ("list: completed", RunFilter { state: Some(RunState::Completed), ..all() }),
            ("list: running (none)", RunFilter { state: Some(RunState::Running), ..all() }),
            (
                "list: suspended of a flow (none)",
                RunFilter { flow, state: Some(RunState::Suspended), ..all() },
            ),
            ("list: of a session", RunFilter { session_id: session, ..all() }),
            ("list: children of a run (none)", RunFilter { parent: Some(deep.id), ..all() }),
        ];
        for (name, filter) in lists {
            repeat(name, || async {
                self.tenant.runs(&filter, Page::first(50)).await.unwrap();
            })
            .await;
        }
        let furthest = Page { limit: 50, offset: 10_000 };
        repeat("list: offset 10,000", || async {
            self.tenant.runs(&all(), furthest).await.unwrap();
        })
        .await;
    }

    async fn submit(&self) -> RunId {
        let task = |cell: &str, depends_on| NewTask {
            cell: cell.to_owned(),
            depends_on,
            terms: TaskTerms::default(),
        };
        let new = NewRun {
            id: RunId(Uuid::now_v7()),
            flow: self.flow,
            version: self.version,
            tasks: vec![task("A", vec![]), task("B", vec![0]), task("C", vec![1])],
            request: json!({"input_value": "hello"}),
            session_id: "s".into(),
            deadline: now() + Duration::from_secs(600),
            retry: RetryPolicy::default(),
            limits: CellLimits::default(),
            isolation: "component".into(),
            idempotency_key: None,
            parent: None,
            again: None,
            detached: false,
            turn: store::Turn::default(),
            submitted_by: None,
            now: now(),
        };
        self.tenant.submit(new).await.unwrap().run
    }

    /// Takes a run through its first task and ends it.
    async fn walk(&self, run: RunId, took: &mut Vec<Duration>) {
        let worker = WorkerEpoch(Uuid::nil());
        let outcome = Outcome::Done { skip: vec![] };
        let commands = [
            Command::Start { skip: vec![] },
            Command::Claim { task: 0, worker },
            Command::Began { task: 0, attempt: 1, worker },
            Command::Finish { task: 0, attempt: 1, worker, outcome },
            Command::Cancel,
        ];
        for command in commands {
            let record = self.store.engine().load(run).await.unwrap().unwrap();
            let decision = decide(&record.run, &command, now()).unwrap();
            let mut after = record.run.clone();
            decision.events.iter().for_each(|event| after.apply(event));
            let transition = Transition::new(record.version, after, decision.events, now());
            let began = Instant::now();
            self.store.engine().commit(transition).await.unwrap();
            took.push(began.elapsed());
        }
        let log = Sha256::digest(run.uuid().as_bytes());
        self.store.engine().archive_event_log(run, &log).await.unwrap();
    }

    /// Removes runs as a scheduler does, with its pauses and without, while others commit.
    async fn remove(&self, runs: u64) {
        println!("\nremoving {} runs, while one caller commits", runs / 10);
        let half = runs / 20;
        for (pause_times, name) in [(4, "with pauses"), (0, "without pauses")] {
            let (done, mut commits) = (AtomicBool::new(false), Vec::new());
            let sweep = async {
                let began = Instant::now();
                let batches = self.sweep(half, pause_times).await;
                done.store(true, Ordering::Relaxed);
                (began.elapsed(), batches)
            };
            let load = async {
                while !done.load(Ordering::Relaxed) {
                    let run = self.submit().await;
                    self.walk(run, &mut commits).await;
                }
            };
            let ((took, mut batches), ()) = futures::future::join(sweep, load).await;
            #[expect(clippy::cast_precision_loss, reason = "some millions at most")]
            let rate = half as f64 / took.as_secs_f64();
            println!("{name}: {half} runs at {rate:.0}/s, p50 and p99 in ms");
            show("a batch of 100 runs", &mut batches);
            show("commit a transition meanwhile", &mut commits);
        }
        self.sizes().await;
        let began = Instant::now();
        self.sql.execute_unprepared("VACUUM").await.unwrap();
        println!("VACUUM: {:.1} s", began.elapsed().as_secs_f64());
    }

    async fn sweep(&self, runs: u64, pause_times: u32) -> Vec<Duration> {
        let engine = self.store.engine();
        let tenant = self.tenant.id();
        let expired = Expired { tenant, ended_before: now(), messages: false };
        let (mut removed, mut took) = (0, Vec::new());
        while removed < runs {
            let began = Instant::now();
            let batch = engine.remove_runs(&expired, 100).await.unwrap();
            engine.remove_payloads(tenant, &batch.payloads, now()).await.unwrap();
            removed += batch.runs;
            took.push(began.elapsed());
            tokio::time::sleep(began.elapsed() * pause_times).await;
        }
        took
    }
}

async fn repeat<F: Future<Output = ()>>(name: &str, call: impl Fn() -> F) {
    for _ in 0..REPEATS / 10 {
        call().await;
    }
    let mut took = Vec::new();
    for _ in 0..REPEATS {
        let began = Instant::now();
        call().await;
        took.push(began.elapsed());
    }
    show(name, &mut took);
}

fn show(name: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    println!("  {name:<36}{:>8.2}{:>8.2}", at(50), at(99));
}
