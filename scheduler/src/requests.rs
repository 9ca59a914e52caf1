//! Answers to workers: claims, reports, heartbeats and the questions of components.

use std::sync::Arc;
use std::time::Instant;

use bus::{Request, Service};
use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};
use domain::limits::LEASE;
use domain::run::{Command, Refused};
use proto::message::{AttemptRef, SchedulerReply, VERSION, WorkerRequest, WorkerRequestBody};
use store::{WorkerRow, now};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::display;

use crate::attempts::{Began, Claim, Found, Report};
use crate::engine::Engine;
use crate::error::Error;
use crate::{calls, frozen, leases, metrics, replan, runtimes};

/// The server of worker requests.
pub(crate) struct Requests {
    engine: Arc<Engine>,
    requests: bus::Requests,
}

impl Requests {
    pub(crate) async fn open(engine: Arc<Engine>, requests_max: usize) -> Result<Self, Error> {
        let requests = engine.bus.serve(Service::Scheduler, requests_max).await?;
        Ok(Self { engine, requests })
    }

    /// Serves until `stop`, then answers what was already sent here: a component's question that
    /// stays without an answer fails its run, because somebody may have acted on it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut has_left = false;
        loop {
            let request = tokio::select! {
                request = self.requests.next() => request,
                () = stop.cancelled(), if !has_left => {
                    has_left = true;
                    self.requests.leave();
                    continue;
                }
            };
            let Some(request) = request else { break };
            tasks.spawn(answer(Arc::clone(&self.engine), request));
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn answer(engine: Arc<Engine>, request: Request) {
    let (began, in_flight) = (Instant::now(), engine.metrics.asked());
    let (mut kind, mut about) = ("unreadable", About::default());
    let reply = match serde_json::from_slice::<WorkerRequest>(&request.body) {
        Ok(asked) if asked.v == VERSION => {
            let worker = asked.worker;
            (kind, about) = (metrics::request(&asked.body), About::of(&asked.body));
            Box::pin(handle(&engine, worker, asked.body))
                .await
                .unwrap_or_else(|error| refusal(error, about))
        }
        Ok(asked) => SchedulerReply::Unavailable {
            reason: format!("message version {} is not {VERSION}", asked.v),
        },
        Err(error) => SchedulerReply::Refused { reason: format!("unreadable request: {error}") },
    };
    engine.metrics.answered(kind, &reply, began.elapsed());
    drop(in_flight);
    let sent = match serde_json::to_vec(&reply) {
        Ok(body) => request.respond(Bytes::from(body)).await.map_err(Error::from),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = sent {
        let About { run, task, attempt } = about;
        let run = run.map(display);
        tracing::warn!(run.id = run, task.id = task, attempt, %error, "a worker's request stays without an answer");
    }
}

/// What a request is about, as far as it says, for the log.
#[derive(Clone, Copy, Default)]
struct About {
    run: Option<RunId>,
    task: Option<u32>,
    attempt: Option<u32>,
}

impl About {
    fn of(body: &WorkerRequestBody) -> Self {
        match body {
            WorkerRequestBody::Claim { run, task, .. } => {
                Self { run: Some(*run), task: Some(*task), attempt: None }
            }
            WorkerRequestBody::Began { attempt, .. }
            | WorkerRequestBody::Report { attempt, .. }
            | WorkerRequestBody::Connections { attempt, .. }
            | WorkerRequestBody::Call { attempt, .. } => {
                let AttemptRef { run, task, attempt } = *attempt;
                Self { run: Some(run), task: Some(task), attempt: Some(attempt) }
            }
            WorkerRequestBody::Runtime { .. }
            | WorkerRequestBody::Heartbeat { .. }
            | WorkerRequestBody::Goodbye => Self::default(),
        }
    }
}

/// What a worker is told about an error.
fn refusal(error: Error, about: About) -> SchedulerReply {
    let About { run, task, attempt } = about;
    let run = run.map(display);
    let reason = error.to_string();
    match error {
        Error::Refused(Refused::AlreadyDone) => SchedulerReply::Accepted,
        Error::Refused(_) | Error::NoRun(_) => SchedulerReply::Refused { reason },
        error if error.is_transient() => {
            tracing::warn!(run.id = run, task.id = task, attempt, %error, "a worker has to ask again");
            SchedulerReply::Unavailable { reason }
        }
        error => {
            tracing::error!(run.id = run, task.id = task, attempt, %error, "a worker's request fails");
            SchedulerReply::Refused { reason }
        }
    }
}

async fn handle(
    engine: &Engine,
    worker: WorkerEpoch,
    body: WorkerRequestBody,
) -> Result<SchedulerReply, Error> {
    match body {
        WorkerRequestBody::Claim { run, task, runtimes } => {
            claim(engine, worker, run, Claim::of(task, worker, runtimes)).await
        }
        WorkerRequestBody::Runtime { tenant, image, progress } => {
            runtimes::heard(engine, tenant, &image, progress).await
        }
        WorkerRequestBody::Began { attempt, container } => {
            engine.transition(attempt.run, &Began { attempt, worker, container }).await?;
            Ok(SchedulerReply::Accepted)
        }
        WorkerRequestBody::Report { attempt, outcome, figures } => {
            let report = Report::of(attempt, worker, *outcome, figures);
            engine.transition(attempt.run, &report).await?;
            replan::remember(engine, &report).await;
            frozen::keep(engine, report).await;
            Ok(SchedulerReply::Accepted)
        }
        WorkerRequestBody::Connections { attempt, log } => {
            match engine.store.engine().record_connections(worker, attempt, &log).await {
                Ok(()) => Ok(SchedulerReply::Accepted),
                Err(store::Error::NotFound { .. }) => {
                    Ok(SchedulerReply::Refused { reason: "there is no such attempt".to_owned() })
                }
                Err(error) => Err(error.into()),
            }
        }
        WorkerRequestBody::Heartbeat { name, slots, attempts, pool } => {
            let beat = WorkerRow::beat(worker, name, slots, now(), LEASE).of_pool(pool);
            heartbeat(engine, worker, &beat, &attempts).await
        }
        WorkerRequestBody::Goodbye => {
            engine.store.engine().goodbye(worker, now()).await?;
            Ok(SchedulerReply::Accepted)
        }
        WorkerRequestBody::Call { attempt, op, args, nth } => {
            let record = engine.load(attempt.run).await?;
            let held = record.run.task(attempt.task);
            if !held.is_some_and(|task| task.is_held_by(attempt.attempt, worker)) {
                return Ok(SchedulerReply::Refused { reason: "the attempt is stale".to_owned() });
            }
            Ok(match calls::answer(engine, &record, attempt, (&op, nth), args).await? {
                Ok(ok) => SchedulerReply::Call { ok: Some(ok), error: None },
                Err(error) => SchedulerReply::Call { ok: None, error: Some(error) },
            })
        }
    }
}

/// Hands a task to a worker. The attempt is prepared first, so that a task which cannot be run
/// fails here and never reaches a container.
async fn claim(
    engine: &Engine,
    worker: WorkerEpoch,
    run: RunId,
    claim: Claim,
) -> Result<SchedulerReply, Error> {
    let changed = engine.transition(run, &claim).await;
    let reason = match claim.found() {
        Found::Lacking(lacking) => return runtimes::prepare(engine, lacking).await,
        Found::Prepared(Ok(assignment)) => {
            changed?;
            let Some(outcome) = frozen::recall(engine, &assignment).await? else {
                return Ok(SchedulerReply::Assigned { assignment });
            };
            engine.transition(run, &frozen::report(&assignment, worker, outcome)).await?;
            "the component's frozen result is used".to_owned()
        }
        Found::Prepared(Err(failure)) => {
            changed?;
            failure.message
        }
        Found::Nothing => {
            changed?;
            "the run is over".to_owned()
        }
    };
    Ok(SchedulerReply::Refused { reason })
}

/// Renews a worker's lease. Whatever the database says it holds but it does not know of (a reply
/// that was lost, say) is lost; whatever it holds but should not is to be stopped.
async fn heartbeat(
    engine: &Engine,
    worker: WorkerEpoch,
    beat: &WorkerRow,
    held: &[AttemptRef],
) -> Result<SchedulerReply, Error> {
    let store = engine.store.engine();
    store.beat(beat).await?;
    for orphan in store.orphaned_attempts(worker, held, now() - LEASE).await? {
        let AttemptRef { run, task, attempt } = orphan;
        let command = Command::Lost { task, attempt, worker, failure: leases::worker_lost() };
        match engine.transition(run, &command).await {
            Ok(_) | Err(Error::Refused(_) | Error::NoRun(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let mine = store.attempts_of(worker).await?;
    let stop = held.iter().filter(|attempt| !mine.contains(attempt)).copied().collect();
    Ok(SchedulerReply::Beat { stop })
}
