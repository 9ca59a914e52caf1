//! A store on a fresh database, and the few rows that most cases need.

use std::time::Duration;

use domain::id::{FlowId, RunId, TenantId, VersionId, WorkerEpoch};
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use domain::run::{Command, Decision, Outcome, decide};
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use proto::frame::CellResult;
use serde_json::{Value, json};
use store::seal::KeyEncryptionKey;
use store::{
    Error, NewFlow, NewRun, NewTask, RunRecord, Settings, Store, TaskResult, Tenant, Transition,
};
use testkit::database::{Database, Kind};
use uuid::Uuid;

pub(crate) const T0: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) struct Fixture {
    pub(crate) database: Database,
    pub(crate) store: Store,
    pub(crate) key: KeyEncryptionKey,
}

/// A tenant with a flow of three cells, each needing the one before.
pub(crate) struct Owner {
    pub(crate) tenant: Tenant,
    pub(crate) flow: FlowId,
    pub(crate) version: VersionId,
}

impl Fixture {
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Database::new(kind).await.unwrap();
        let key = KeyEncryptionKey::generate();
        let store = Store::connect(&settings(&database), key.clone()).await.unwrap();
        store.migrate().await.unwrap();
        Self { database, store, key }
    }

    /// Another process on the same database.
    pub(crate) async fn another_process(&self) -> Store {
        Store::connect(&settings(&self.database), self.key.clone()).await.unwrap()
    }

    pub(crate) async fn owner(&self, name: &str) -> Owner {
        let id: TenantId = self.store.create_tenant(name).await.unwrap();
        let tenant = self.store.tenant(id);
        let new = NewFlow { name: "Echo".into(), data: graph(), ..NewFlow::default() };
        let flow = tenant.create_flow(new).await.unwrap().header.id;
        let version = tenant.put_version(flow, &graph(), &json!({"cells": []})).await.unwrap();
        Owner { tenant, flow, version }
    }

    pub(crate) async fn close(self) {
        self.store.close().await.unwrap();
    }

    pub(crate) async fn load(&self, run: RunId) -> RunRecord {
        self.store.engine().load(run).await.unwrap().unwrap()
    }

    /// Loads, decides, commits: what a scheduler does.
    pub(crate) async fn step(&self, run: RunId, command: Command, now: Timestamp) -> Decision {
        let record = self.load(run).await;
        let decision = decide(&record.run, &command, now).unwrap();
        let transition = transition(&record, &decision, now);
        self.store.engine().commit(transition).await.unwrap();
        decision
    }
}

impl Owner {
    pub(crate) fn new_run(&self) -> NewRun {
        NewRun {
            id: RunId(Uuid::now_v7()),
            flow: self.flow,
            version: self.version,
            tasks: vec![task("A", &[]), task("B", &[0]), task("C", &[1])],
            request: json!({"input_value": "hello"}),
            session_id: "s".into(),
            deadline: T0 + Duration::from_secs(600),
            retry: RetryPolicy::default(),
            limits: CellLimits::default(),
            isolation: "component".into(),
            idempotency_key: None,
            parent: None,
            again: None,
            detached: false,
            turn: store::Turn::default(),
            submitted_by: None,
            now: T0,
        }
    }

    pub(crate) async fn submit(&self) -> RunId {
        self.tenant.submit(self.new_run()).await.unwrap().run
    }
}

pub(crate) fn settings(database: &Database) -> Settings {
    Settings { url: database.url().to_owned(), connections_max: 4 }
}

pub(crate) fn task(cell: &str, depends_on: &[u32]) -> NewTask {
    NewTask { cell: cell.into(), depends_on: depends_on.to_vec(), terms: TaskTerms::default() }
}

pub(crate) fn graph() -> Value {
    json!({"nodes": [], "edges": [], "viewport": {"x": 0}})
}

pub(crate) fn transition(record: &RunRecord, decision: &Decision, now: Timestamp) -> Transition {
    let mut after = record.run.clone();
    decision.events.iter().for_each(|event| after.apply(event));
    let transition = Transition::new(record.version, after, decision.events.clone(), now);
    Transition { queue: "default".into(), priority: record.priority, ..transition }
}

pub(crate) fn worker(n: u128) -> WorkerEpoch {
    WorkerEpoch(Uuid::from_u128(n))
}

pub(crate) fn claim(task: u32, worker: WorkerEpoch) -> Command {
    Command::Claim { task, worker }
}

pub(crate) fn began(task: u32, worker: WorkerEpoch) -> Command {
    Command::Began { task, attempt: 1, worker }
}

pub(crate) fn finish(task: u32, worker: WorkerEpoch) -> Command {
    Command::Finish { task, attempt: 1, worker, outcome: Outcome::Done { skip: vec![] } }
}

/// A result with about this many bytes.
pub(crate) fn result(task: u32, bytes: usize) -> TaskResult {
    let context = [("blob".to_owned(), Value::from("x\u{0}é".repeat(bytes / 9 + 1)))].into();
    TaskResult { task, result: CellResult { context, ..CellResult::default() } }
}

#[track_caller]
pub(crate) fn assert_not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}");
}

#[track_caller]
pub(crate) fn assert_duplicate<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    assert!(matches!(result, Err(Error::Duplicate { field }) if field == expected), "{result:?}");
}
