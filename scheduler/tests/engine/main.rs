//! The scheduler with a real store and a real bus; the worker is played by the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod admission;
mod children;
mod history;
mod human;
mod knowledge;
mod pausing;
mod requests;
mod rerun;
mod retention;
mod runtimes;
mod spans;
mod terms;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::wire::{decode, encode};
use bus::{Bus, Consumer, Queue, Service};
use domain::failure::{Failure, FailureKind};
use domain::flow::Graph;
use domain::id::{FlowId, RunId, WorkerEpoch};
use domain::limits::{CellLimits, FileLimits};
use domain::plan::{Driver, Plan};
use domain::retry::RetryPolicy;
use domain::run::RunState;
use domain::runtime::Needs;
use domain::terms::TaskTerms;
use domain::time::Timestamp;
use flowcell_scheduler::{Config, Scheduler};
use proto::connection::ConnectionLog;
use proto::event::{RunEvent, RunEventKind};
use proto::frame::{CellResult, NodeResult};
use proto::message::{
    Assignment, AttemptRef, EgressRule, Figures, ReportOutcome, RunOrder, SchedulerReply,
    TaskOffered, VERSION, WorkerOrder, WorkerRequest, WorkerRequestBody,
};
use serde_json::{Value, json};
use service::drain::Drain;
use store::seal::KeyEncryptionKey;
use store::{
    FileOwner, NewEgressRule, NewFile, NewFlow, NewMessage, NewRun, NewTask, NewVariable,
    NewVersion, OutboxMessage, Secret, Store, Tenant, Transition, VariableKind, now,
};
use testkit::database::Database;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

struct Cluster {
    store: Store,
    bus: Bus,
    tenant: Tenant,
    drain: Drain,
    offers: Consumer,
    worker: WorkerEpoch,
    /// What requests say beside their input.
    more: Value,
    /// What the versions of flows need of their runtime.
    needs: Needs,
    _database: Database,
    _events: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let database = Database::sqlite().unwrap();
        let settings = store::Settings { url: database.url().to_owned(), connections_max: 4 };
        let store = Store::connect(&settings, KeyEncryptionKey::generate()).await.unwrap();
        store.migrate().await.unwrap();
        let first = store.auth().bootstrap("admin").await.unwrap().unwrap();
        let events = tempfile::tempdir().unwrap();
        let bus = bus::memory(bus::memory::Settings::new(events.path())).await.unwrap();
        let drain = Drain::new();
        // A log is forgotten on the bus once it is archived: not before a test has read it.
        let mut config = Config { sweep_ms: 50, archive_after_ms: 1_000, ..Config::default() };
        change(&mut config);
        Scheduler::new(store.clone(), bus.clone(), config).start(&drain).await.unwrap();
        let offers =
            bus.consumer(&Queue::Tasks { pool: "default".into(), depth: 0 }).await.unwrap();
        let worker = WorkerEpoch(Uuid::new_v4());
        let tenant = store.tenant(first.tenant);
        let (more, needs, _database, _events) = (json!({}), Needs::default(), database, events);
        Self { store, bus, tenant, drain, offers, worker, more, needs, _database, _events }
    }

    /// Accepts a run of a graph as the API does.
    async fn submit(&self, data: Value, retry: RetryPolicy, deadline: Duration) -> RunId {
        self.submit_with(data, BTreeMap::new(), retry, deadline).await
    }

    /// With values in place of stored variables.
    async fn submit_with(
        &self,
        data: Value,
        given: BTreeMap<String, Secret>,
        retry: RetryPolicy,
        deadline: Duration,
    ) -> RunId {
        let mut new = run_of(&self.tenant, &data, &self.needs, deadline).await;
        let variables = self.tenant.seal_for_run(new.id, &given).await.unwrap();
        let request = new.request.as_object_mut().unwrap();
        request.insert("variables".into(), json!(variables));
        request.extend(self.more.as_object().unwrap().clone());
        self.tenant.submit(NewRun { retry, ..new }).await.unwrap().run
    }

    /// Claims a task.
    async fn claim_task(&self, run: RunId, task: u32) -> SchedulerReply {
        self.ask(WorkerRequestBody::Claim { run, task, runtimes: Vec::new() }).await
    }

    async fn order(&self, run: RunId, cancel: bool) {
        let order = json!({"v": VERSION, "run": run, "cancel": cancel});
        assert_eq!(serde_json::from_value::<RunOrder>(order.clone()).unwrap().cancel, cancel);
        let id = if cancel { format!("cancel:{run}") } else { format!("run:{run}") };
        let body = serde_json::to_vec(&order).unwrap().into();
        self.bus.enqueue(&Queue::Runs, &id, body).await.unwrap();
    }

    async fn ask(&self, body: WorkerRequestBody) -> SchedulerReply {
        let request = WorkerRequest { v: VERSION, worker: self.worker, body };
        let request = encode("test", &request).unwrap();
        let reply = self.bus.request(Service::Scheduler, request, PATIENCE).await.unwrap();
        decode("test", &reply).unwrap()
    }

    async fn beat(&self, attempts: Vec<AttemptRef>) -> SchedulerReply {
        self.ask(WorkerRequestBody::Heartbeat {
            name: "test".into(),
            slots: 4,
            attempts,
            pool: None,
        })
        .await
    }

    /// Takes the next offer and claims it.
    async fn take(&mut self) -> Assignment {
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            let offers = self.offers.fetch(1, Duration::from_millis(200)).await.unwrap();
            for offer in offers {
                let asked: TaskOffered = decode("test", &offer.body).unwrap();
                let reply = self.claim_task(asked.run, asked.task).await;
                offer.ack().await.unwrap();
                if let SchedulerReply::Assigned { assignment } = reply {
                    return *assignment;
                }
            }
        }
        panic!("nothing was offered");
    }

    async fn report(&self, attempt: AttemptRef, outcome: ReportOutcome) -> SchedulerReply {
        let outcome = Box::new(outcome);
        self.ask(WorkerRequestBody::Report { attempt, outcome, figures: Figures::default() }).await
    }

    async fn done(&self, assignment: &Assignment) -> SchedulerReply {
        self.done_with(assignment, json!({"results": {}})).await
    }

    /// Gives this `ResultData`.
    async fn done_with(&self, assignment: &Assignment, result: Value) -> SchedulerReply {
        let text = format!("made by {}", assignment.task.cell);
        let node = NodeResult {
            outputs: BTreeMap::from([("message".to_owned(), json!(text))]),
            result,
            valid: true,
        };
        let nodes = BTreeMap::from([(assignment.task.cell.clone(), node)]);
        let result = CellResult { nodes, ..CellResult::default() };
        self.report(assignment.attempt, ReportOutcome::Done { result }).await
    }

    /// Follows the run's log to its end.
    async fn log(&self, run: RunId) -> Vec<RunEventKind> {
        let mut reader = self.bus.read(run, 0).await.unwrap();
        let mut kinds = Vec::new();
        loop {
            let (seq, entry) =
                tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(seq, kinds.len() as u64 + 1, "positions have no gaps");
            let event: RunEvent = serde_json::from_slice(&entry).unwrap();
            let last = event.kind.is_terminal();
            kinds.push(event.kind);
            if last {
                return kinds;
            }
        }
    }

    /// Writes a message for a queue into the outbox, older than every other.
    async fn promise(&self, run: RunId, queue: &str) -> OutboxMessage {
        let message = OutboxMessage::new(queue, "m", b"{}".to_vec(), Timestamp(0));
        loop {
            let record = self.store.engine().load(run).await.unwrap().unwrap();
            let mut change = Transition::new(record.version, record.run, vec![], now());
            change.outbox = vec![message.clone()];
            match self.store.engine().commit(change).await {
                Ok(()) => return message,
                // The scheduler was faster.
                Err(store::Error::VersionConflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn state(&self, run: RunId) -> RunState {
        self.tenant.run_header(run).await.unwrap().state
    }

    /// Nothing may be left: the sweep publishes the rest of the outbox, every part ends.
    async fn end(self) {
        let until = tokio::time::Instant::now() + PATIENCE;
        let later = now() + Duration::from_secs(60);
        while !self.store.engine().unpublished(10, later).await.unwrap().is_empty() {
            assert!(tokio::time::Instant::now() < until, "outbox rows are left behind");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(self.drain.finish(PATIENCE).await, "a part of the scheduler hangs");
    }
}

/// A run of a new flow of this graph.
async fn run_of(tenant: &Tenant, data: &Value, needs: &Needs, deadline: Duration) -> NewRun {
    let new = NewFlow { data: data.clone(), ..new_flow() };
    let flow = tenant.create_flow(new).await.unwrap();
    let plan = Plan::of(&Graph::read(data).unwrap()).unwrap();
    let stored = serde_json::to_value(&plan).unwrap();
    let new = NewVersion { data, plan: &stored, needs };
    let version = tenant.put_new_version(flow.header.id, new).await.unwrap();
    let task = |cell: &domain::plan::Cell| NewTask {
        cell: cell.id.clone(),
        depends_on: cell.depends_on.clone(),
        terms: TaskTerms::default(),
    };
    NewRun {
        id: RunId(Uuid::now_v7()),
        flow: flow.header.id,
        version,
        tasks: plan.cells.iter().map(task).collect(),
        request: json!({"input_value": "hello", "session_id": "s1"}),
        session_id: "s1".into(),
        deadline: now() + deadline,
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
    }
}

fn new_flow() -> NewFlow {
    NewFlow {
        name: "flow".into(),
        endpoint_name: None,
        description: None,
        project: None,
        data: Value::Null,
        ..NewFlow::default()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_runs_to_its_end() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Prompt-b", &["ChatInput-a"]),
        ("ChatOutput-c", &["Prompt-b"]),
    ]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;

    let first = cluster.take().await;
    assert_eq!(first.task.cell, "ChatInput-a");
    assert_eq!(first.task.parameters["ChatInput-a"]["input_value"], "hello");
    assert!(first.egress.is_empty() && first.task.egress.is_none(), "nothing is reachable");
    assert_eq!(cluster.done(&first).await, SchedulerReply::Accepted);
    // A report that comes twice is known, and changes nothing.
    assert_eq!(cluster.done(&first).await, SchedulerReply::Accepted);

    let second = cluster.take().await;
    assert_eq!(second.task.inputs["ChatInput-a"]["message"], "made by ChatInput-a");
    let began = WorkerRequestBody::Began { attempt: second.attempt, container: "c0ffee".into() };
    assert_eq!(cluster.ask(began).await, SchedulerReply::Accepted);
    cluster.done(&second).await;
    let third = cluster.take().await;
    cluster.done(&third).await;

    let log = cluster.log(run).await;
    let names: Vec<&str> = log.iter().map(RunEventKind::name).collect();
    assert_eq!(names.iter().filter(|name| **name == "task.done").count(), 3, "{names:?}");
    assert_eq!(names.last(), Some(&"run.completed"));
    assert_eq!(cluster.state(run).await, RunState::Completed);
    let results = cluster.tenant.results(run, &["ChatOutput-c".to_owned()]).await.unwrap();
    assert_eq!(
        results["ChatOutput-c"].nodes["ChatOutput-c"].outputs["message"],
        "made by ChatOutput-c"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_travel_is_planned_around_and_remembered() {
    let mut cluster = Cluster::new().await;
    let mut data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Maker-b", &["ChatInput-a"]),
        ("Taker-c", &["Maker-b"]),
        ("ChatOutput-d", &["Taker-c"]),
    ]);
    data["nodes"][1]["data"]["node"]["template"]["code"] =
        json!({"type": "code", "value": "class Maker(Component): ..."});
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let maker = cluster.take().await;
    assert_eq!(maker.task.cell, "Maker-b");
    let live = proto::frame::LiveValue {
        node: "Maker-b".into(),
        output: "message".into(),
        value_type: "thing.Thing".into(),
    };
    let result = CellResult { live: vec![live], ..CellResult::default() };
    let done = ReportOutcome::Done { result };
    assert_eq!(cluster.report(maker.attempt, done.clone()).await, SchedulerReply::Accepted);
    assert!(matches!(cluster.report(maker.attempt, done).await, SchedulerReply::Refused { .. }));

    // The maker's input is what it was; its own cell is gone, and the taker's with it.
    let both = cluster.take().await;
    assert_eq!((both.attempt.task, both.attempt.attempt), (4, 1));
    assert_eq!(both.task.members, ["Maker-b", "Taker-c"]);
    assert_eq!(both.task.inputs["ChatInput-a"]["message"], "made by ChatInput-a");
    cluster.done(&both).await;
    let last = cluster.take().await;
    assert_eq!(last.task.cell, "ChatOutput-d");
    assert_eq!(last.task.inputs["Taker-c"]["message"], "made by Taker-c");
    cluster.done(&last).await;

    let log = cluster.log(run).await;
    let anew = log.iter().find(|kind| kind.name() == "run.replanned").unwrap();
    let cells = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let (replaced, planned) = (cells(&["Maker-b", "Taker-c"]), cells(&["Taker-c"]));
    assert_eq!(*anew, RunEventKind::RunReplanned { replaced, planned });
    assert_eq!(log.iter().filter(|kind| kind.name() == "task.done").count(), 3);
    assert_eq!(cluster.state(run).await, RunState::Completed);
    let view = cluster.tenant.run(run).await.unwrap();
    let states: Vec<&str> = view.tasks.iter().map(|task| task.state.name()).collect();
    assert_eq!(states, ["done", "replaced", "replaced", "done", "done"]);
    assert!(view.plan.is_some());

    // What was learned is kept by code, and the flow has to be planned anew.
    let flow = cluster.tenant.flow(view.header.flow).await.unwrap();
    assert_eq!(flow.header.current_version, None);
    let code = Graph::read(&flow.data).unwrap().node("Maker-b").unwrap().code_digest().unwrap();
    let known = cluster.tenant.live_outputs(std::slice::from_ref(&code)).await.unwrap();
    assert_eq!(known, [store::LiveOutput { code, output: "message".into() }]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_one_cell_and_what_it_never_reached_keeps_the_rest_from_running() {
    let mut cluster = Cluster::new().await;
    let mut data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Grow-b", &["ChatInput-a", "Router-c"]),
        ("Router-c", &["Grow-b"]),
        ("ChatOutput-d", &["Router-c"]),
    ]);
    // The router leaves the circle by an output of its own.
    let mut exit = data["nodes"][2]["data"]["node"]["outputs"][0].clone();
    exit["name"] = json!("exit");
    let code = json!({"type": "code", "value": "self.stop('exit')"});
    data["nodes"][2]["data"]["node"]["template"]["code"] = code;
    data["nodes"][2]["data"]["node"]["outputs"].as_array_mut().unwrap().push(exit);
    data["edges"][3]["data"]["sourceHandle"]["name"] = json!("exit");
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let first = cluster.take().await;
    assert!(first.task.driver.is_order());
    cluster.done(&first).await;
    let second = cluster.take().await;
    assert_eq!((second.task.cell.as_str(), second.task.driver), ("Grow-b", Driver::Graph));
    assert_eq!(second.task.members, ["Grow-b", "Router-c"]);
    let stopped =
        json!({"op": "mark_branch", "node": "Router-c", "output": null, "state": "INACTIVE"});
    let result = CellResult { operations: vec![stopped], ..CellResult::default() };
    let done = ReportOutcome::Done { result };
    assert_eq!(cluster.report(second.attempt, done).await, SchedulerReply::Accepted);
    let log = cluster.log(run).await;
    let names: Vec<&str> = log.iter().map(RunEventKind::name).collect();
    assert!(names.contains(&"task.skipped"), "{names:?}");
    assert_eq!(cluster.state(run).await, RunState::Completed);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_node_is_for_cells_with_that_node() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[]), ("Prompt-b", &["ChatInput-a"])]);
    let name = Graph::read(&data).unwrap().node("Prompt-b").unwrap().display_name.clone();
    for (host, node) in [
        ("all.org", None),
        ("input.org", Some("ChatInput-a".to_owned())),
        ("prompt.org", Some(name)),
        ("other.org", Some("Nobody-c".to_owned())),
    ] {
        let rule = EgressRule { host: host.into(), port: 443, private: false, tcp: false };
        let new = NewEgressRule { flow: None, node, rule };
        cluster.tenant.create_egress_rule(new).await.unwrap();
    }
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let hosts = |assignment: &Assignment| {
        assignment.egress.iter().map(|rule| rule.host.clone()).collect::<Vec<_>>()
    };
    let first = cluster.take().await;
    assert_eq!(hosts(&first), ["all.org", "input.org"]);
    cluster.done(&first).await;
    let second = cluster.take().await;
    assert_eq!(hosts(&second), ["all.org", "prompt.org"]);
    cluster.done(&second).await;
    cluster.log(run).await;
    // What it connected to may be told after its end, and by nobody else.
    let log = ConnectionLog { revision: 1, ..ConnectionLog::default() };
    let told = |attempt| WorkerRequestBody::Connections { attempt, log: log.clone() };
    assert_eq!(cluster.ask(told(second.attempt)).await, SchedulerReply::Accepted);
    let foreign = AttemptRef { attempt: 2, ..second.attempt };
    assert!(matches!(cluster.ask(told(foreign)).await, SchedulerReply::Refused { .. }));
    assert_eq!(cluster.tenant.connections(run).await.unwrap().len(), 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_claims_is_granted() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let granted = cluster.take().await;
    let claims = (0..20)
        .map(|_| cluster.ask(WorkerRequestBody::Claim { run, task: 0, runtimes: Vec::new() }));
    for reply in futures::future::join_all(claims).await {
        assert!(matches!(reply, SchedulerReply::Refused { .. }), "{reply:?}");
    }
    cluster.done(&granted).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_costs_an_attempt_and_its_late_report_is_refused() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    cluster.beat(vec![]).await;
    let lost = cluster.take().await;
    assert_eq!(lost.attempt.attempt, 1);
    // The worker says goodbye while it holds the task: whatever it held is lost at once.
    assert_eq!(cluster.ask(WorkerRequestBody::Goodbye).await, SchedulerReply::Accepted);
    let old = cluster.worker;
    cluster.worker = WorkerEpoch(Uuid::new_v4());
    cluster.beat(vec![]).await;
    let again = cluster.take().await;
    assert_eq!(again.attempt, AttemptRef { attempt: 2, ..lost.attempt });

    let new = std::mem::replace(&mut cluster.worker, old);
    assert!(matches!(cluster.done(&lost).await, SchedulerReply::Refused { .. }));
    // Its heartbeat is told to end what it no longer holds.
    let SchedulerReply::Beat { stop } = cluster.beat(vec![lost.attempt]).await else { panic!() };
    assert_eq!(stop, [lost.attempt]);
    cluster.worker = new;
    assert_eq!(cluster.done(&again).await, SchedulerReply::Accepted);
    let log = cluster.log(run).await;
    let retried = |kind: &RunEventKind| {
        matches!(kind, RunEventKind::TaskFailed { failure, will_retry: true, .. }
            if failure.kind == FailureKind::WorkerLost)
    };
    assert!(log.iter().any(retried), "{log:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_error_fails_the_run_and_stops_the_rest() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("Alpha-a", &[]), ("Beta-b", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let (one, other) = (cluster.take().await, cluster.take().await);
    let mut orders = cluster.bus.listen(cluster.worker).await.unwrap();
    let kind = FailureKind::Component { exception: "ValueError".into() };
    let failure = Failure::new(kind, "Error building Component Alpha: \n\nno").at("Alpha-a");
    cluster.report(one.attempt, ReportOutcome::Failed { failure: failure.clone() }).await;
    let order = tokio::time::timeout(PATIENCE, orders.next()).await.unwrap().unwrap();
    let order: WorkerOrder = decode("test", &order).unwrap();
    assert_eq!(order, WorkerOrder::Stop { attempt: other.attempt });
    assert_eq!(cluster.log(run).await.last(), Some(&RunEventKind::RunFailed { failure }));
    assert!(matches!(cluster.done(&other).await, SchedulerReply::Refused { .. }));
    assert_eq!(cluster.state(run).await, RunState::Failed);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_deadline_end_a_run() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
    let run = cluster.submit(data.clone(), RetryPolicy::default(), HOUR).await;
    cluster.take().await;
    cluster.order(run, true).await;
    assert_eq!(cluster.log(run).await.last(), Some(&RunEventKind::RunCancelled));
    let late = cluster.submit(data, RetryPolicy::default(), Duration::from_millis(300)).await;
    assert_eq!(cluster.log(late).await.last(), Some(&RunEventKind::RunTimedOut));
    assert_eq!(cluster.state(late).await, RunState::TimedOut);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_own_flow_and_only_while_the_attempt_is_held() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    // A message of another flow of the tenant, in a session of the same name.
    let other = cluster.tenant.create_flow(new_flow()).await.unwrap();
    cluster.tenant.store_message(message(other.header.id)).await.unwrap();
    let held = cluster.take().await;
    let call = |op: &str, args: Value| WorkerRequestBody::Call {
        attempt: held.attempt,
        op: op.to_owned(),
        args,
        nth: (op == "message.store").then_some(0),
    };
    let new = json!({"message": {"text": "hi", "sender": "User", "sender_name": "User", "session_id": "s1"}});
    let SchedulerReply::Call { ok: Some(stored), .. } =
        cluster.ask(call("message.store", new.clone())).await
    else {
        panic!()
    };
    // The answer was lost, say: the worker asks another scheduler the same.
    let again = cluster.ask(call("message.store", new)).await;
    let SchedulerReply::Call { ok: Some(again), .. } = again else { panic!() };
    assert_eq!(again["id"], stored["id"]);
    assert_eq!(stored["flow_id"], held.task.flow_id.to_string());
    let get = call("messages.get", json!({"flow_id": held.task.flow_id, "session_id": "s1"}));
    let SchedulerReply::Call { ok: Some(got), .. } = cluster.ask(get).await else { panic!() };
    assert_eq!(got["messages"].as_array().unwrap().len(), 1);
    assert_eq!(got["messages"][0]["id"], stored["id"]);
    let foreign = call("variable.get", json!({"name": "OPENAI_API_KEY"}));
    let SchedulerReply::Call { error: Some(error), .. } = cluster.ask(foreign).await else {
        panic!()
    };
    assert_eq!(error.kind, "refused", "a variable that no field names is nobody's business");
    cluster.done(&held).await;
    let late = cluster.ask(call("messages.get", json!({}))).await;
    assert!(matches!(late, SchedulerReply::Refused { .. }), "{late:?}");
    assert_eq!(cluster.state(run).await, RunState::Completed);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_those_of_the_runs_own_flow_and_user() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let held = cluster.take().await;
    let limits = FileLimits::default();
    let file = |owner, name: &str, bytes: &[u8]| NewFile {
        owner,
        path_name: name.to_owned(),
        name: name.to_owned(),
        listed: true,
        bytes: bytes.to_vec(),
    };
    let mine = FileOwner::Flow(held.task.flow_id);
    let two_pieces = vec![7; 1_500_000];
    cluster.tenant.create_file(file(mine, "mine.bin", &two_pieces), limits).await.unwrap();
    // The same tenant's other flow, its user (whom this run is not of), and another tenant.
    let other = cluster.tenant.create_flow(new_flow()).await.unwrap().header.id;
    let user = cluster.tenant.users().await.unwrap()[0].id;
    let stranger = cluster.store.tenant(cluster.store.create_tenant("stranger").await.unwrap());
    let theirs = stranger.create_flow(new_flow()).await.unwrap().header.id;
    cluster.tenant.create_file(file(FileOwner::Flow(other), "a", b"x"), limits).await.unwrap();
    cluster.tenant.create_file(file(FileOwner::User(user), "a", b"x"), limits).await.unwrap();
    stranger.create_file(file(FileOwner::Flow(theirs), "a", b"x"), limits).await.unwrap();

    let call = async |op: &str, args: Value| {
        let (attempt, op) = (held.attempt, op.to_owned());
        match cluster.ask(WorkerRequestBody::Call { attempt, op, args, nth: None }).await {
            SchedulerReply::Call { ok: Some(ok), error: None } => Ok(ok),
            SchedulerReply::Call { error: Some(error), .. } => Err(error.kind),
            other => panic!("{other:?}"),
        }
    };
    let path = |owner: Uuid, name: &str| json!({"path": format!("{owner}/{name}")});
    let flow = held.task.flow_id.uuid();
    let last = json!({"path": format!("{flow}/mine.bin"), "piece": 1});
    assert_eq!(call("file.get", path(flow, "mine.bin")).await.unwrap()["more"], true);
    let last = call("file.get", last).await.unwrap();
    assert_eq!(
        (&last["more"], last["data"].as_str().map(str::len)),
        (&json!(false), Some(601_900))
    );
    assert_eq!(call("file.list", json!({"owner": flow})).await.unwrap()["names"][0], "mine.bin");
    assert_eq!(call("file.get", path(flow, "gone")).await.unwrap_err(), "not_found");
    for owner in [other.uuid(), user.uuid(), theirs.uuid(), Uuid::nil()] {
        assert_eq!(call("file.get", path(owner, "a")).await.unwrap_err(), "refused");
        assert_eq!(call("file.list", json!({"owner": owner})).await.unwrap_err(), "refused");
        let put = json!({"path": format!("{owner}/a"), "data": "eA=="});
        assert_eq!(call("file.put", put).await.unwrap_err(), "refused");
    }
    for wrong in ["..", "a/../b", "../a", ""] {
        assert_eq!(call("file.get", path(flow, wrong)).await.unwrap_err(), "invalid");
        assert_eq!(call("file.put", path(flow, wrong)).await.unwrap_err(), "invalid");
    }
    let put = json!({"path": format!("{flow}/out.txt"), "data": "eA=="});
    call("file.put", put.clone()).await.unwrap();
    call("file.put", put).await.unwrap();
    assert_eq!(cluster.tenant.files(mine).await.unwrap().len(), 2, "a second attempt adds nothing");
    cluster.done(&held).await;
    cluster.end().await;
}

fn message(flow: FlowId) -> NewMessage {
    NewMessage {
        id: None,
        flow,
        session_id: "s1".into(),
        run: None,
        task: None,
        sender: "User".into(),
        sender_name: "User".into(),
        timestamp: now(),
        data: json!({"text": "of another flow"}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_messages_are_made_up_for() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    // Nobody publishes what was accepted, as in every test here: a round finds it.
    let accepted = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let taken = cluster.take().await;
    assert_eq!(taken.attempt.run, accepted);
    cluster.done(&taken).await;
    // The log of an ended run moves into the store, and the bus forgets it.
    let until = tokio::time::Instant::now() + PATIENCE;
    let log = loop {
        if let Some(log) = cluster.tenant.event_log(accepted).await.unwrap() {
            break log;
        }
        assert!(tokio::time::Instant::now() < until, "the log was not archived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let last: RunEvent = serde_json::from_slice(lines.next_back().unwrap()).unwrap();
    assert_eq!(last.kind, RunEventKind::RunCompleted);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_gets_the_callers_values_that_its_fields_name() {
    let mut cluster = Cluster::new().await;
    let mut data = testkit::flows::graph(&[("Alpha-a", &[])]);
    for (field, variable) in [("key", "KEY"), ("greeting", "GREETING"), ("other", "MISSING")] {
        data["nodes"][0]["data"]["node"]["template"][field] = json!({
            "type": "str", "name": field, "value": variable, "load_from_db": true, "show": true
        });
    }
    for (name, kind) in [
        ("KEY", VariableKind::Credential),
        ("UNNAMED", VariableKind::Credential),
        ("GREETING", VariableKind::Generic),
    ] {
        let (name, value) = (name.to_owned(), Secret::new("stored"));
        let new = NewVariable { name, kind, value, default_fields: vec![] };
        cluster.tenant.create_variable(new).await.unwrap();
    }
    let given = ["KEY", "MISSING", "UNNAMED", "NOWHERE"];
    let given = given.map(|name| (name.to_owned(), Secret::new("given"))).into();
    let run = cluster.submit_with(data, given, RetryPolicy::default(), HOUR).await;
    let taken = cluster.take().await;
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(taken.task.variables, texts(&[("GREETING", "stored"), ("KEY", "stored")]));
    assert_eq!(taken.task.request_variables, texts(&[("KEY", "given"), ("MISSING", "given")]));
    assert_eq!(taken.secrets, ["KEY".to_owned()].into(), "what is secret is secret in either form");
    cluster.done(&taken).await;
    cluster.log(run).await;
    cluster.end().await;
}

/// While versions of the program are mixed: the newer one's schedulers publish such a row.
#[tokio::test]
async fn a_message_for_an_unknown_queue_is_kept_and_told_and_holds_up_no_other() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The test's only thread runs the scheduler's parts too.
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let foreign = cluster.promise(run, "moon:7").await;

    // What was promised later is published all the same.
    let taken = cluster.take().await;
    cluster.done(&taken).await;
    cluster.log(run).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let later = now() + Duration::from_secs(60);
        let left = cluster.store.engine().unpublished(10, later).await.unwrap();
        assert!(left.contains(&foreign), "the row is gone");
        if left.len() == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "left behind: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(cluster.drain.finish(PATIENCE).await, "a part of the scheduler hangs");
    let text = logged.text();
    let told = text.lines().any(|line| line.contains("WARN") && line.contains("moon:7"));
    assert!(told, "{text}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
