//! Workers without containers: they take tasks, claim, report and send heartbeats over the bus as
//! real ones do, and give every cell the same result. No code of a flow is executed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use bus::nats::{Credentials, Role, Settings};
use bus::wire::{decode, encode};
use bus::{Bus, Delivery, Queue, Service};
use domain::id::{RunId, WorkerEpoch};
use domain::limits::HEARTBEAT;
use domain::time::Timestamp;
use drill::WorkerAccess;
use proto::event::{RunEvent, RunEventKind};
use proto::frame::{CellResult, NodeResult};
use proto::message::{
    Assignment, AttemptRef, Figures, ReportOutcome, SchedulerReply, TaskOffered, VERSION,
    WorkerRequest, WorkerRequestBody,
};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::measured::Times;

/// What every cell gives.
pub(crate) const TEXT: &str = "hollow";
/// The field of a token in which it says when it was made, in microseconds since 1970.
pub(crate) const MADE_AT: &str = "made_at_us";

const POOL: &str = "default";
const FETCH_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a cell does before it gives its result.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// It waits, as for a model.
    Sleep(Duration),
    /// It streams tokens.
    Speak { tokens: u32, every: Duration },
}

/// What workers see.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// From sending a task's report to having the run's next task.
    pub(crate) hops: Times,
    reported: Arc<Mutex<HashMap<RunId, Instant>>>,
    assigned: Arc<Mutex<Vec<(AttemptRef, Instant)>>>,
}

/// A worker; it dies without a word when it is dropped, as by `kill -9`.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bus: Bus,
    epoch: WorkerEpoch,
    name: String,
    slots: u32,
    work: Work,
    seen: Seen,
    held: Mutex<HashSet<AttemptRef>>,
}

impl Seen {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { hops: Times::new()?, reported: Arc::default(), assigned: Arc::default() })
    }

    /// Every attempt that was assigned so far, and when.
    pub(crate) fn assigned(&self) -> Vec<(AttemptRef, Instant)> {
        lock(&self.assigned).clone()
    }

    fn takes(&self, attempt: AttemptRef) {
        let now = Instant::now();
        if let Some(reported) = lock(&self.reported).remove(&attempt.run) {
            self.hops.add(now.saturating_duration_since(reported));
        }
        lock(&self.assigned).push((attempt, now));
    }

    fn reports(&self, run: RunId) {
        lock(&self.reported).insert(run, Instant::now());
    }

    /// Forgets runs: after their last task nothing follows.
    pub(crate) fn forget(&self) {
        lock(&self.reported).clear();
        lock(&self.assigned).clear();
    }
}

impl Worker {
    pub(crate) async fn start(
        access: &WorkerAccess,
        name: &str,
        slots: u32,
        work: Work,
        seen: &Seen,
    ) -> Result<Self> {
        let mut settings = Settings::new(access.url.clone());
        settings.credentials =
            Credentials::Password { user: access.user.clone(), password: access.password.clone() };
        settings.role = Role::Worker { user: access.user.clone() };
        let shared = Arc::new(Shared {
            bus: bus::nats(settings).await?,
            epoch: WorkerEpoch(Uuid::new_v4()),
            name: name.to_owned(),
            slots,
            work,
            seen: seen.clone(),
            held: Mutex::default(),
        });
        shared.beat().await?;
        let beating = tokio::spawn(Arc::clone(&shared).keep_beating());
        let taking = tokio::spawn(Arc::clone(&shared).take_work());
        let tasks = [beating, taking].map(AbortOnDropHandle::new).into();
        Ok(Self { shared, _tasks: tasks })
    }

    /// What it holds right now.
    pub(crate) fn held(&self) -> HashSet<AttemptRef> {
        lock(&self.shared.held).clone()
    }
}

impl Shared {
    async fn ask(&self, body: WorkerRequestBody) -> Result<SchedulerReply> {
        let request = WorkerRequest { v: VERSION, worker: self.epoch, body };
        let bytes = encode("request", &request)?;
        let reply = self.bus.request(Service::Scheduler, bytes, ANSWER_WAIT).await?;
        Ok(decode("reply", &reply)?)
    }

    async fn keep_beating(self: Arc<Self>) {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if let Err(error) = self.beat().await {
                tracing::warn!(%error, "a heartbeat was not accepted");
            }
        }
    }

    async fn beat(&self) -> Result<()> {
        let attempts: Vec<AttemptRef> = lock(&self.held).iter().copied().collect();
        let body = WorkerRequestBody::Heartbeat {
            name: self.name.clone(),
            slots: self.slots,
            attempts,
            pool: Some(POOL.to_owned()),
        };
        match self.ask(body).await? {
            SchedulerReply::Beat { .. } => Ok(()),
            other => bail!("a heartbeat was answered with {other:?}"),
        }
    }

    /// Takes as many offers as it has free slots. What it holds ends with this.
    async fn take_work(self: Arc<Self>) {
        let queue = Queue::Tasks { pool: POOL.to_owned(), depth: 0 };
        let slots = Arc::new(Semaphore::new(usize::try_from(self.slots).unwrap_or(1)));
        let mut running = tokio::task::JoinSet::new();
        let Ok(mut consumer) = self.bus.consumer(&queue).await else { return };
        loop {
            let Ok(first) = Arc::clone(&slots).acquire_owned().await else { return };
            let mut permits = vec![first];
            while let Ok(permit) = Arc::clone(&slots).try_acquire_owned() {
                permits.push(permit);
            }
            while running.try_join_next().is_some() {}
            match consumer.fetch(permits.len(), FETCH_WAIT).await {
                Ok(offers) => {
                    for (offer, permit) in offers.into_iter().zip(permits) {
                        running.spawn(Arc::clone(&self).handle(offer, permit));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no offers can be fetched");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn handle(self: Arc<Self>, offer: Delivery, _permit: OwnedSemaphorePermit) {
        if let Err(error) = self.try_handle(offer).await {
            tracing::warn!(%error, "a task was not done");
        }
    }

    async fn try_handle(&self, offer: Delivery) -> Result<()> {
        let TaskOffered { run, task, .. } = decode("offer", &offer.body)?;
        let claim = WorkerRequestBody::Claim { run, task, runtimes: Vec::new() };
        let reply = self.ask(claim).await?;
        offer.ack().await?;
        let SchedulerReply::Assigned { assignment } = reply else { return Ok(()) };
        let attempt = assignment.attempt;
        self.seen.takes(attempt);
        lock(&self.held).insert(attempt);
        let done = self.run(&assignment).await;
        lock(&self.held).remove(&attempt);
        done
    }

    /// One attempt, with the requests that a real worker makes for it.
    async fn run(&self, assignment: &Assignment) -> Result<()> {
        let attempt = assignment.attempt;
        let began = self.ask(WorkerRequestBody::Began { attempt, container: TEXT.to_owned() });
        let (began, worked) = tokio::join!(began, self.work(assignment));
        began?;
        worked?;
        let outcome = ReportOutcome::Done { result: result(assignment) };
        let report = WorkerRequestBody::Report {
            attempt,
            outcome: Box::new(outcome),
            figures: Figures::default(),
        };
        self.seen.reports(attempt.run);
        match self.ask(report).await? {
            SchedulerReply::Accepted => Ok(()),
            other => bail!("a report was answered with {other:?}"),
        }
    }

    async fn work(&self, assignment: &Assignment) -> Result<()> {
        match self.work {
            Work::Nothing => {}
            Work::Sleep(time) => tokio::time::sleep(time).await,
            Work::Speak { tokens, every } => {
                let mut due = tokio::time::interval(every);
                for number in 0..tokens {
                    due.tick().await;
                    self.say(assignment, number).await?;
                }
            }
        }
        Ok(())
    }

    async fn say(&self, assignment: &Assignment, number: u32) -> Result<()> {
        let AttemptRef { run, task, attempt } = assignment.attempt;
        let kind = RunEventKind::Langflow {
            cell: assignment.task.cell.clone(),
            attempt,
            event: "token".to_owned(),
            data: json!({"chunk": "word ", MADE_AT: now_us()}),
        };
        let at = Timestamp(i64::try_from(now_us() / 1_000).unwrap_or(i64::MAX));
        let entry = encode("event", &RunEvent { at, kind })?;
        self.bus.append(run, vec![(format!("{task}:{attempt}:{number}"), entry)]).await?;
        Ok(())
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The same message of every node.
fn result(assignment: &Assignment) -> CellResult {
    let shown = json!({
        "results": {"message": {"text": TEXT}},
        "outputs": {"message": {"message": TEXT, "type": "text"}},
    });
    let node = |id: &String| {
        let outputs = BTreeMap::from([("message".to_owned(), Value::from(TEXT))]);
        (id.clone(), NodeResult { outputs, result: shown.clone(), valid: true })
    };
    let nodes = assignment.task.members.iter().map(node).collect();
    CellResult { nodes, ..CellResult::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
