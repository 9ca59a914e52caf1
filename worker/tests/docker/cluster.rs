//! One worker, an in-process bus and a scheduler made of a few maps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::wire::{decode, encode};
use bus::{Bus, Queue, Service};
use domain::failure::Failure;
use domain::id::{FlowId, RunId, TenantId, UserId};
use domain::limits::CellLimits;
use domain::plan::Driver;
use egress::{Resolve, SystemResolver};
use flowcell_worker::config::{Backend, Config, PoolImage};
use flowcell_worker::reaper::Program;
use flowcell_worker::{Handle, Worker};
use proto::connection::{Connection, ConnectionLog};
use proto::event::{RunEvent, RunEventKind};
use proto::frame::{CellResult, FrameLimits, Task};
use proto::message::{
    Assignment, AttemptRef, EgressRule, Figures, ReportOutcome, RuntimeOrder, RuntimeProgress,
    SchedulerReply, TaskOffered, VERSION, WorkerOrder, WorkerRequest, WorkerRequestBody,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::image;

pub(crate) const CANARY: &str = "sk-canary-4711-\\-quoted";
/// These workers end in order; `cli/tests/reaper.rs` kills one.
const NO_REAPER: Option<Program> = None;
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Cluster {
    pub(crate) bus: Bus,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) worker: Handle,
    pub(crate) name: String,
    task: JoinHandle<()>,
    image: String,
    /// The engine's own socket.
    pub(crate) docker_host: String,
    slot_root: PathBuf,
    _dir: tempfile::TempDir,
}

/// What the fake scheduler knows.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) tasks: HashMap<(RunId, u32), Assignment>,
    pub(crate) began: HashMap<AttemptRef, String>,
    pub(crate) reports: HashMap<AttemptRef, Vec<(ReportOutcome, Figures)>>,
    pub(crate) connections: HashMap<AttemptRef, ConnectionLog>,
    pub(crate) calls: usize,
    pub(crate) beats: usize,
    pub(crate) goodbyes: usize,
    pub(crate) stop: HashSet<AttemptRef>,
    /// What a task of this image has to wait for; and what became of it.
    pub(crate) orders: HashMap<String, RuntimeOrder>,
    pub(crate) progress: Vec<RuntimeProgress>,
    /// Answers nothing while it is set.
    pub(crate) away: bool,
}

pub(crate) struct Scheduler {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Scheduler {
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until the state gives something.
    pub(crate) async fn until<T>(&self, find: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let found = timeout(PATIENCE, async {
            loop {
                if let Some(found) = find(&self.state.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        });
        found.await.expect("the awaited state of the scheduler never came")
    }

    fn answer(&self, request: WorkerRequest) -> Option<SchedulerReply> {
        self.with(|state| {
            if state.away {
                return None;
            }
            Some(match request.body {
                WorkerRequestBody::Claim { run, task, runtimes } => {
                    let image = state.tasks.get(&(run, task)).map(|task| task.image.clone());
                    let order = image.filter(|image| !runtimes.contains(image));
                    if let Some(order) = order.and_then(|image| state.orders.remove(&image)) {
                        return Some(SchedulerReply::Prepare { runtime: Box::new(order) });
                    }
                    match state.tasks.remove(&(run, task)) {
                        Some(assignment) => {
                            SchedulerReply::Assigned { assignment: Box::new(assignment) }
                        }
                        None => SchedulerReply::Refused { reason: "not ready".into() },
                    }
                }
                WorkerRequestBody::Runtime { progress, .. } => {
                    state.progress.push(progress.clone());
                    match progress {
                        RuntimeProgress::Locked { lock } => SchedulerReply::Lock { lock },
                        _ => SchedulerReply::Accepted,
                    }
                }
                WorkerRequestBody::Began { attempt, container } => {
                    state.began.insert(attempt, container);
                    SchedulerReply::Accepted
                }
                WorkerRequestBody::Report { attempt, outcome, figures } => {
                    state.reports.entry(attempt).or_default().push((*outcome, figures));
                    SchedulerReply::Accepted
                }
                WorkerRequestBody::Connections { attempt, log } => {
                    state.connections.insert(attempt, log);
                    SchedulerReply::Accepted
                }
                WorkerRequestBody::Heartbeat { attempts, .. } => {
                    state.beats += 1;
                    let stop =
                        attempts.into_iter().filter(|held| state.stop.contains(held)).collect();
                    SchedulerReply::Beat { stop }
                }
                WorkerRequestBody::Goodbye => {
                    state.goodbyes += 1;
                    SchedulerReply::Accepted
                }
                WorkerRequestBody::Call { args, .. } => {
                    state.calls += 1;
                    SchedulerReply::Call { ok: Some(json!({ "echo": args })), error: None }
                }
            })
        })
    }
}

pub(crate) fn config(image: &str, dir: &std::path::Path, name: &str) -> Config {
    let mut config = Config {
        name: name.into(),
        cluster: "flowcell-test".into(),
        slots: 4,
        socket_dir: dir.to_owned(),
        limits: limits(),
        ..Config::default()
    };
    config.pool.images = vec![PoolImage::fixed(image, 2)];
    // Tests count what waits.
    config.pool.passing_max = 0;
    // The fake runner is no zygote.
    config.sandbox.backend = Backend::Warm;
    config.pool.ready_ms_max = 30_000;
    config.pool.take_ms_max = 30_000;
    config
}

pub(crate) fn limits() -> CellLimits {
    CellLimits {
        memory_bytes: 64 * 1024 * 1024,
        pids: 32,
        cpu_millis: 1_000,
        wall_ms: 20_000,
        output_bytes_max: 4 * 1024 * 1024,
        frames_max: 10_000,
        log_bytes_max: 100_000,
        tmpfs_bytes: 4 * 1024 * 1024,
        ..CellLimits::default()
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::resolving(Arc::new(SystemResolver), change).await
    }

    /// With other names than the host's.
    pub(crate) async fn resolving(
        resolver: Arc<dyn Resolve>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let image = image::of("normal");
        let dir = tempfile::tempdir().unwrap();
        let name = format!("t-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let bus = bus::memory(bus::memory::Settings::new(dir.path().join("events"))).await.unwrap();
        let mut config = config(&image, &dir.path().join("s"), &name);
        change(&mut config);
        let (docker_host, slot_root) = (config.docker_host.clone(), config.slot_root());
        let scheduler =
            Arc::new(Scheduler { state: Mutex::default(), changed: watch::Sender::new(0) });
        let mut requests = bus.serve(Service::Scheduler, 64).await.unwrap();
        let serving = scheduler.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let asked: WorkerRequest = decode("test", &request.body).unwrap();
                if let Some(reply) = serving.answer(asked) {
                    request.respond(encode("test", &reply).unwrap()).await.unwrap();
                }
            }
        });
        let worker = Worker::open_with(config, bus.clone(), NO_REAPER, resolver).await.unwrap();
        let handle = worker.handle();
        let task = tokio::spawn(async move { Box::pin(worker.run()).await.unwrap() });
        Self {
            bus,
            scheduler,
            worker: handle,
            name,
            task,
            image,
            docker_host,
            slot_root,
            _dir: dir,
        }
    }

    /// Waits until this many containers wait.
    pub(crate) async fn warm(&self, count: u64) {
        let warm = async {
            while self.worker.figures().ready < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let filled = timeout(PATIENCE, warm).await;
        assert!(filled.is_ok(), "the pool never filled: {:?}", self.worker.health().pool);
    }

    /// An assignment whose task makes the fake runner behave so.
    pub(crate) fn assignment(&self, behaviour: &str, session: &str) -> Assignment {
        let run = RunId(Uuid::new_v4());
        let task = Task {
            run_id: run,
            flow_id: FlowId(Uuid::new_v4()),
            flow_name: behaviour.into(),
            user_id: UserId(Uuid::new_v4()),
            session_id: session.into(),
            cell: "N-1".into(),
            attempt: 1,
            graph: json!({}),
            members: vec!["N-1".into()],
            driver: Driver::Order,
            inputs: BTreeMap::new(),
            parameters: BTreeMap::new(),
            variables: [("CANARY".to_owned(), CANARY.to_owned())].into(),
            request_variables: BTreeMap::new(),
            upstream_usage: None,
            child: false,
            overrides: BTreeMap::new(),
            may_pause: false,
            decisions: BTreeMap::new(),
            saved: BTreeMap::new(),
            context: BTreeMap::new(),
            egress: None,
            limits: FrameLimits {
                log_bytes_max: 1 << 20,
                output_bytes_max: 1 << 22,
                ..FrameLimits::default()
            },
        };
        Assignment {
            secrets: task.variables.keys().cloned().collect(),
            attempt: AttemptRef { run, task: 3, attempt: 1 },
            tenant: TenantId(Uuid::new_v4()),
            image: self.image.clone(),
            limits: limits(),
            egress: Vec::new(),
            traceparent: None,
            task,
        }
    }

    /// Offers a task and returns at once.
    pub(crate) async fn submit(&self, assignment: Assignment) -> AttemptRef {
        let attempt = assignment.attempt;
        let (run, task) = (attempt.run, attempt.task);
        self.scheduler.with(|state| state.tasks.insert((run, task), assignment));
        let offer = encode("test", &TaskOffered { v: VERSION, run, task }).unwrap();
        let queue = Queue::Tasks { pool: "default".into(), depth: 0 };
        self.bus.enqueue(&queue, &run.to_string(), offer).await.unwrap();
        attempt
    }

    pub(crate) async fn report(&self, attempt: AttemptRef) -> (ReportOutcome, Figures) {
        self.scheduler.until(|state| state.reports.get(&attempt)?.first().cloned()).await
    }

    /// Runs a task to its report.
    pub(crate) async fn run(&self, assignment: Assignment) -> (ReportOutcome, Figures) {
        let attempt = self.submit(assignment).await;
        self.report(attempt).await
    }

    pub(crate) async fn result(&self, assignment: Assignment) -> CellResult {
        match self.run(assignment).await.0 {
            ReportOutcome::Done { result } => result,
            ReportOutcome::Failed { failure } => panic!("failed: {failure:?}"),
        }
    }

    pub(crate) async fn failure(&self, assignment: Assignment) -> Failure {
        match self.run(assignment).await.0 {
            ReportOutcome::Failed { failure } => failure,
            ReportOutcome::Done { .. } => panic!("it should have failed"),
        }
    }

    /// The text that a behaviour gave.
    pub(crate) async fn text(&self, behaviour: &str, session: &str) -> String {
        text_of(&self.result(self.assignment(behaviour, session)).await)
    }

    pub(crate) async fn egress(&self, request: &str, rules: Vec<EgressRule>) -> String {
        let mut assignment = self.assignment("egress", request);
        assignment.egress = rules;
        text_of(&self.result(assignment).await)
    }

    /// What an attempt connected to, once it has been told and passes.
    pub(crate) async fn connections(&self, attempt: AttemptRef) -> Vec<Connection> {
        let find = |state: &State| state.connections.get(&attempt).map(|log| log.entries.clone());
        self.scheduler.until(find).await
    }

    pub(crate) async fn order_stop(&self, attempt: AttemptRef) {
        let order = encode("test", &WorkerOrder::Stop { attempt }).unwrap();
        self.bus.tell(self.worker.epoch(), order).await.unwrap();
    }

    pub(crate) async fn events(&self, run: RunId) -> Vec<RunEventKind> {
        let entries = self.bus.snapshot(run).await.unwrap();
        entries.iter().map(|entry| decode::<RunEvent>("test", entry).unwrap().kind).collect()
    }

    /// All containers of this worker, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        containers_on(&self.docker_host, &self.name)
    }

    /// Returns once nothing is left of a cell: its container, or the control groups of one without.
    pub(crate) async fn gone(&self, container: &str) {
        let is_there = || match container.strip_prefix("native-") {
            Some(slot) => !groups_of(slot).is_empty(),
            None => self.containers().iter().any(|id| container.starts_with(id.as_str())),
        };
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("the container was never removed");
    }

    /// Drains the worker. Nothing may be left.
    pub(crate) async fn stop(self) {
        self.worker.drain(Duration::from_secs(30)).await;
        self.task.await.unwrap();
        let left = containers_on(&self.docker_host, &self.name);
        assert_eq!(left, Vec::<String>::new(), "containers are left");
        let left: Vec<_> = std::fs::read_dir(&self.slot_root)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| name != "lock")
            .collect();
        assert!(left.is_empty(), "slot directories are left: {left:?}");
    }
}

/// The control groups of a cell without an engine, whatever version and owner.
pub(crate) fn groups_of(slot: &str) -> Vec<PathBuf> {
    let inside = |path: PathBuf| {
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = inside(root.clone()).chain([root]);
    let owners = hierarchies.flat_map(|hierarchy| inside(hierarchy.join("flowcell")));
    owners.map(|owner| owner.join(slot)).filter(|group| group.is_dir()).collect()
}

pub(crate) fn text_of(result: &CellResult) -> String {
    result.nodes["N-1"].outputs["out"].as_str().unwrap().to_owned()
}

/// Containers of a worker on the engine that tests share.
pub(crate) fn containers_of(worker: &str) -> Vec<String> {
    containers_on(&Config::default().docker_host, worker)
}

pub(crate) fn containers_on(docker_host: &str, worker: &str) -> Vec<String> {
    let docker = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["--host", docker_host]).args(args).output().unwrap()
    };
    let lines = |stdout| -> Vec<String> {
        String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let label = format!("label=flowcell.worker={worker}");
    let listed = docker(&["ps", "-aq", "--filter", &label]);
    assert!(listed.status.success());
    let mut listed = lines(listed.stdout);
    if listed.is_empty() {
        return listed;
    }
    // An engine that was killed may list one that is gone until its next start: `inspect` tells.
    let mut inspect = vec!["inspect", "--type", "container", "--format", "{{.Id}}"];
    inspect.extend(listed.iter().map(String::as_str));
    let there = lines(docker(&inspect).stdout);
    listed.retain(|id| there.iter().any(|full| full.starts_with(id.as_str())));
    listed
}
