//! A scheduler and its workers, played by a script: what the cells give is written before.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, Queue};
use bytes::Bytes;
use domain::failure::{Failure, FailureKind};
use domain::id::{RunId, WorkerEpoch};
use domain::run::{Event, Run};
use domain::time::Timestamp;
use proto::event::{RunEvent, RunEventKind};
use proto::frame::{CellResult, NodeResult};
use serde_json::Value;
use store::{Store, TaskResult, Transition};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::world::World;

/// What becomes of every run.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// What each node gives: lfx's `ResultData`.
    pub(super) results: Vec<(String, Value)>,
    /// Events of components, as `{"event", "data"}`.
    pub(super) langflow: Vec<Value>,
    /// How it fails, when it does.
    pub(super) failure: Option<Failure>,
    /// It never ends by itself.
    pub(super) hangs: bool,
    /// The log loses its last entry.
    pub(super) loses_end: bool,
}

/// The running script; tells of every cancel that arrives.
pub(super) struct Player {
    pub(super) cancelled: mpsc::Receiver<RunId>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    pub(super) fn play(self, world: &World) -> Player {
        let (store, bus) = (world.store.clone(), world.bus.clone());
        let (sender, cancelled) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            let mut consumer = bus.consumer(&Queue::Runs).await.unwrap();
            loop {
                for delivery in consumer.fetch(8, Duration::from_secs(1)).await.unwrap() {
                    let message: Value = serde_json::from_slice(&delivery.body).unwrap();
                    let run: RunId = message["run"].as_str().unwrap().parse().unwrap();
                    if message["cancel"] == true {
                        end(&store, &bus, run, Event::RunCancelled, RunEventKind::RunCancelled)
                            .await;
                        sender.send(run).await.unwrap();
                    } else {
                        self.execute(&store, &bus, run).await;
                    }
                    delivery.ack().await.unwrap();
                }
            }
        });
        Player { cancelled, task }
    }

    async fn execute(&self, store: &Store, bus: &Bus, run: RunId) {
        let mut kinds = vec![RunEventKind::RunStarted];
        let record = store.engine().load(run).await.unwrap().unwrap();
        let mut events = vec![Event::RunStarted];
        let mut results = Vec::new();
        for (task, cell) in (0u32..).zip(&record.cells) {
            if self.hangs {
                break;
            }
            let (worker, at) = (WorkerEpoch(Uuid::new_v4()), store::now());
            events.push(Event::TaskReady { task, not_before: None });
            events.push(Event::TaskLeased { task, attempt: 1, worker, at });
            if self.failure.is_some() {
                continue;
            }
            events.push(Event::TaskRunning { task, attempt: 1 });
            events.push(Event::TaskDone { task, attempt: 1 });
            let (cell, attempt) = (cell.clone(), 1);
            kinds.push(RunEventKind::TaskDone { cell: cell.clone(), attempt, duration_ms: 7 });
            results.push(TaskResult { task, result: self.result(&cell) });
        }
        for event in &self.langflow {
            kinds.push(RunEventKind::Langflow {
                cell: "C".to_owned(),
                attempt: 1,
                event: event["event"].as_str().unwrap().to_owned(),
                data: event["data"].clone(),
            });
        }
        commit(store, record.run, record.version, events, results).await;
        append(bus, run, kinds, "run").await;
        if self.hangs {
            return;
        }
        let (event, kind) = match &self.failure {
            None => (Event::RunCompleted, RunEventKind::RunCompleted),
            Some(failure) => {
                let failure = failure.clone();
                let event = Event::RunFailed { failure: failure.clone() };
                (event, RunEventKind::RunFailed { failure })
            }
        };
        if self.loses_end {
            let record = store.engine().load(run).await.unwrap().unwrap();
            commit(store, record.run, record.version, vec![event], Vec::new()).await;
        } else {
            end(store, bus, run, event, kind).await;
        }
    }

    fn result(&self, cell: &str) -> CellResult {
        let mut nodes = BTreeMap::new();
        for (node, result) in self.results.iter().filter(|(node, _)| node == cell) {
            let (outputs, result) = (BTreeMap::new(), result.clone());
            nodes.insert(node.clone(), NodeResult { outputs, result, valid: true });
        }
        CellResult { nodes, ..CellResult::default() }
    }
}

/// Results of the nodes in a captured run response.
pub(super) fn results_of(response: &Value) -> Vec<(String, Value)> {
    let list = response["outputs"][0]["outputs"].as_array().unwrap();
    list.iter().map(|r| (r["component_id"].as_str().unwrap().to_owned(), r.clone())).collect()
}

/// An error of a component in Langflow's words.
pub(super) fn boom() -> Failure {
    let kind = FailureKind::Component { exception: "RuntimeError".to_owned() };
    Failure::new(kind, "Error building Component Boom: \n\nkaboom: Bob").at("Boom-bbbbb")
}

async fn end(store: &Store, bus: &Bus, run: RunId, event: Event, kind: RunEventKind) {
    let record = store.engine().load(run).await.unwrap().unwrap();
    let mut events: Vec<Event> = Vec::new();
    for task in record.run.tasks.iter().filter(|task| !task.state.is_terminal()) {
        events.push(Event::TaskCancelled { task: task.index });
    }
    events.push(event);
    commit(store, record.run, record.version, events, Vec::new()).await;
    append(bus, run, vec![kind], "end").await;
}

async fn commit(
    store: &Store,
    mut run: Run,
    version: u64,
    events: Vec<Event>,
    results: Vec<TaskResult>,
) {
    events.iter().for_each(|event| run.apply(event));
    let mut transition = Transition::new(version, run, events, store::now());
    transition.results = results;
    store.engine().commit(transition).await.unwrap();
}

pub(super) async fn append(bus: &Bus, run: RunId, kinds: Vec<RunEventKind>, prefix: &str) {
    let entry = |(index, kind)| {
        let event = RunEvent { at: Timestamp(1_700_000_000_000), kind };
        (format!("{prefix}:{index}"), Bytes::from(serde_json::to_vec(&event).unwrap()))
    };
    let entries = kinds.into_iter().enumerate().map(entry).collect();
    bus.append(run, entries).await.unwrap();
}
