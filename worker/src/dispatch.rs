//! From the queue to a report: fetch for free slots, claim, run, report until it is answered.
//!
//! ```text
//! fetch ─▶ claim ─ assigned ─▶ ack ─▶ drive ─▶ report ⟲ ─ accepted, refused ─▶ done
//!                ├ refused ──▶ ack
//!                └ no answer ▶ nack
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bus::wire::decode;
use bus::{Consumer, Delivery};
use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use proto::message::{
    Assignment, AttemptRef, ReportOutcome, RuntimeOrder, SchedulerReply, TaskOffered, VERSION,
    WorkerRequestBody,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{self, Ended, Workshop};
use crate::backoff::Backoff;
use crate::held::{Held, Hold};
use crate::trace::Trace;

/// One wait for offers.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// One wait for the answer to a claim. An answer that comes later leaves an attempt that no
/// heartbeat names, and its lease ends.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// One wait for the answer to a report.
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// How soon an offer comes again that no scheduler could decide about.
const NACK_AFTER: Duration = Duration::from_secs(1);
/// How soon an offer comes again that this worker cannot read; a newer one may.
const NACK_UNREADABLE_AFTER: Duration = Duration::from_secs(30);
/// How often a pool that cannot start anything is looked at again.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);
/// Attempts per slot that are held at most, those whose report is not yet answered included.
const OBLIGATIONS_PER_SLOT: usize = 4;

/// What became of an offer.
enum Claimed {
    /// The task is ours.
    Task(Box<Assignment>),
    /// It is not.
    Nothing,
    /// It could be, with this image.
    Unprepared { run: RunId, task: u32, runtime: Box<RuntimeOrder> },
}

/// Takes work of one depth for one worker.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    shop: Arc<Workshop>,
    held: Held,
    depth: u32,
    slots: Arc<Semaphore>,
    obligations: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Dispatch {
    pub(crate) fn new(shop: Arc<Workshop>, held: Held, depth: u32, slots: u32) -> Self {
        shop.metrics.has_slots(depth, slots);
        let slots = usize::try_from(slots).unwrap_or(1);
        Self {
            shop,
            held,
            depth,
            slots: Arc::new(Semaphore::new(slots)),
            obligations: Arc::new(Semaphore::new(slots.saturating_mul(OBLIGATIONS_PER_SLOT))),
            tasks: TaskTracker::new(),
        }
    }

    /// Takes work until `drain` is cancelled. What is held by then goes on.
    pub(crate) async fn run(&self, mut consumer: Consumer, drain: &CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !drain.is_cancelled() {
            let round = drain.run_until_cancelled(self.round(&mut consumer)).await;
            match round {
                Some(Ok(())) => backoff = Backoff::new(Duration::from_millis(100), FETCH_WAIT),
                Some(Err(error)) => {
                    tracing::warn!(%error, "no offers can be fetched");
                    drain.run_until_cancelled(backoff.pause()).await;
                }
                None => break,
            }
        }
        self.shop.runtimes.close();
        self.tasks.close();
    }

    /// Waits until everything that was taken is reported or given up.
    pub(crate) async fn finished(&self) {
        self.tasks.wait().await;
    }

    async fn round(&self, consumer: &mut Consumer) -> Result<(), bus::Error> {
        if self.shop.pool.is_broken() {
            // Taking work now would only fail it, here, where it could succeed elsewhere.
            tokio::time::sleep(BROKEN_PAUSE).await;
            return Ok(());
        }
        let (Ok(slot), Ok(obligation)) = (
            self.slots.clone().acquire_owned().await,
            self.obligations.clone().acquire_owned().await,
        ) else {
            return Err(bus::Error::Closed);
        };
        let mut permits = vec![(slot, obligation)];
        // No more than containers can serve soon: the rest may start earlier elsewhere.
        while permits.len() < usize::try_from(self.shop.pool.supply()).unwrap_or(usize::MAX) {
            let slot = self.slots.clone().try_acquire_owned();
            let obligation = self.obligations.clone().try_acquire_owned();
            let (Ok(slot), Ok(obligation)) = (slot, obligation) else { break };
            permits.push((slot, obligation));
        }
        let offers = consumer.fetch(permits.len(), FETCH_WAIT).await?;
        for (offer, permits) in offers.into_iter().zip(permits) {
            let dispatch = self.clone();
            self.tasks.spawn(async move { Box::pin(dispatch.handle(offer, permits)).await });
        }
        Ok(())
    }

    async fn handle(
        self,
        offer: Delivery,
        (slot, obligation): (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) {
        let claimed = Instant::now();
        match self.claim(offer).await {
            Claimed::Task(assignment) => self.work(assignment, claimed, (slot, obligation)).await,
            Claimed::Nothing => {}
            Claimed::Unprepared { run, task, runtime } => {
                // What waits for an image holds up nobody else.
                drop((slot, obligation));
                self.prepare(run, task, &runtime).await;
            }
        }
    }

    /// Makes the image of a task ready, and asks for the task again. Should this worker end
    /// before, the task is offered to others.
    async fn prepare(self, run: RunId, task: u32, runtime: &RuntimeOrder) {
        let shop = self.shop.clone();
        let Some(_waiting) = shop.runtimes.wait(run, task) else { return };
        if !shop.runtimes.prepare(runtime).await {
            return;
        }
        let (Ok(slot), Ok(obligation)) = (
            self.slots.clone().acquire_owned().await,
            self.obligations.clone().acquire_owned().await,
        ) else {
            return;
        };
        let claimed = Instant::now();
        if let Ok(SchedulerReply::Assigned { assignment }) = self.ask(run, task).await {
            self.work(assignment, claimed, (slot, obligation)).await;
        }
    }

    async fn work(
        self,
        assignment: Box<Assignment>,
        claimed: Instant,
        (slot, obligation): (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) {
        let attempt = assignment.attempt;
        let hold = self.held.enter(attempt, claimed);
        let busy = self.shop.metrics.busy(self.depth);
        let trace = Trace::of(&self.shop.config.tracer, &assignment);
        let driven = attempt::drive(&self.shop, *assignment, hold.stop(), &trace);
        let ended = Box::pin(driven).await;
        drop((slot, busy));
        self.shop.metrics.ended(ended.as_ref());
        match ended {
            Some(ended) => {
                hold.reporting();
                let (began, since) = (Instant::now(), SystemTime::now());
                self.report(attempt, ended, &hold).await;
                self.shop.metrics.reported(began.elapsed());
                trace.reported(since);
            }
            None => tracing::info!(
                run.id = %attempt.run,
                task.id = attempt.task,
                attempt = attempt.attempt,
                "attempt was stopped"
            ),
        }
        drop(obligation);
    }

    async fn ask(&self, run: RunId, task: u32) -> Result<SchedulerReply, bus::Error> {
        let runtimes = self.shop.runtimes.ready();
        let (body, began) = (WorkerRequestBody::Claim { run, task, runtimes }, Instant::now());
        let reply = self.shop.upstream.ask(body, CLAIM_WAIT).await;
        self.shop.metrics.claimed(&reply, began.elapsed());
        reply
    }

    /// Asks for the offered task, and settles the offer.
    async fn claim(&self, offer: Delivery) -> Claimed {
        let Ok(TaskOffered { v: VERSION, run, task }) = decode("offers", &offer.body) else {
            tracing::warn!("an offer cannot be read; another worker may");
            settle(offer.nack(NACK_UNREADABLE_AFTER).await);
            return Claimed::Nothing;
        };
        match self.ask(run, task).await {
            Ok(SchedulerReply::Assigned { assignment }) => {
                settle(offer.ack().await);
                Claimed::Task(assignment)
            }
            Ok(SchedulerReply::Prepare { runtime }) => {
                settle(offer.ack().await);
                Claimed::Unprepared { run, task, runtime }
            }
            Ok(SchedulerReply::Refused { reason }) => {
                tracing::debug!(run.id = %run, task.id = task, %reason, "claim refused");
                settle(offer.ack().await);
                Claimed::Nothing
            }
            other => {
                match other {
                    Err(error) => {
                        tracing::warn!(run.id = %run, task.id = task, %error, "claim not answered");
                    }
                    Ok(_) => tracing::warn!(run.id = %run, task.id = task, "claim not decided"),
                }
                settle(offer.nack(NACK_AFTER).await);
                Claimed::Nothing
            }
        }
    }

    /// Repeats the report until a scheduler has answered it, through outages of any length.
    async fn report(&self, attempt: AttemptRef, ended: Ended, hold: &Hold) {
        let Ended { outcome, figures } = ended;
        let AttemptRef { run, task, attempt: number } = attempt;
        let body = |outcome: ReportOutcome| WorkerRequestBody::Report {
            attempt,
            outcome: Box::new(outcome),
            figures: figures.clone(),
        };
        let Ok(mut request) = self.shop.upstream.encoded(body(outcome)) else {
            tracing::error!(run.id = %run, task.id = task, attempt = number, "a report cannot be encoded");
            return;
        };
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let sent = self.shop.upstream.send(request.clone(), REPORT_WAIT);
            match hold.stop().run_until_cancelled(sent).await {
                Some(Ok(SchedulerReply::Accepted)) => return,
                Some(Ok(SchedulerReply::Refused { reason })) => {
                    tracing::info!(run.id = %run, task.id = task, attempt = number, %reason, "report refused");
                    return;
                }
                Some(Err(bus::Error::TooLarge { bytes_max, .. })) => {
                    let failure = too_large(bytes_max);
                    match self.shop.upstream.encoded(body(ReportOutcome::Failed { failure })) {
                        Ok(smaller) => request = smaller,
                        Err(_) => return,
                    }
                }
                Some(Err(bus::Error::Closed)) => return,
                Some(Ok(_) | Err(_)) => {
                    if hold.stop().run_until_cancelled(backoff.pause()).await.is_none() {
                        return;
                    }
                }
                None => return,
            }
        }
    }
}

fn too_large(bytes_max: usize) -> Failure {
    let limit_bytes = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    Failure::new(
        FailureKind::ValueTooLarge { limit_bytes },
        format!("the cell's result is larger than {limit_bytes} bytes, the most that can travel"),
    )
}

/// A lost ack or nack only means that the offer comes again, and is refused then.
fn settle(settled: Result<(), bus::Error>) {
    if let Err(error) = settled {
        tracing::debug!(%error, "an offer was not settled");
    }
}
