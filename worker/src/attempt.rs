//! One attempt: a container, one task, its frames, one outcome.
//!
//! ```text
//! take ─ run ─▶ frames ── event, log ──▶ mask ─▶ run's event log
//!                      ├─ call ─────────▶ schedulers ─▶ reply
//!                      └─ result, failure, end of stream, limit, deadline ─▶ outcome
//! outcome ─ container destroyed ─ events, connections stored ─▶ report
//! ```

mod calls;
mod events;
mod mask;
mod meter;
mod record;
mod spent;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use domain::failure::{Failure, FailureKind};
use domain::limits::CellLimits;
use proto::event::RunEventKind;
use proto::frame::{CellResult, Error as FrameError, FailureBody, FrameLimits, FromRunner, Log};
use proto::message::{
    Assignment, AttemptRef, Figures, ReportOutcome, SchedulerReply, WorkerRequestBody,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::pool::{Lent, Pool};
use crate::runtimes::Runtimes;
use crate::sandbox::{FrameReader, Job, Sandbox, SlotSpec};
use crate::trace::Trace;
use crate::upstream::Upstream;
use calls::{Bases, Calls, Desk, Nameable};
use egress::{Closed, Policy, Resolve};
use events::Events;
use mask::Secrets;
use meter::{Keep, Meter, notice};
use record::Record;
use spent::{Spent, Strain};

/// What an attempt that was told to stop has said by then is stored within this time, or not at
/// all: whoever stopped it may be waiting, and the bus may be the reason.
const KEEP_MAX: Duration = Duration::from_secs(1);
/// One try at telling the schedulers that a container has the task.
const BEGAN_WAIT: Duration = Duration::from_secs(5);

/// What all attempts of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    pub(crate) config: Arc<Config>,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) pool: Pool,
    pub(crate) upstream: Upstream,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) closed: Arc<Closed>,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) metrics: Metrics,
}

/// An attempt that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: ReportOutcome,
    pub(crate) figures: Figures,
}

/// How the frames of a cell ended.
enum Close {
    Result(Box<CellResult>),
    /// The runner says why it has no result.
    Reported(Box<FailureBody>),
    Failure(Failure),
    /// The stream ended without a final frame.
    Silent,
    /// Somebody else holds the attempt, or it was told to stop.
    Stopped,
}

/// When a task was taken, by the clock and by the calendar, and where its spans go.
struct Claim<'a> {
    at: Instant,
    since: SystemTime,
    trace: &'a Trace,
}

/// What is fixed for one attempt.
struct Cell<'a> {
    shop: &'a Workshop,
    attempt: AttemptRef,
    name: String,
    limits: CellLimits,
    secrets: Arc<Secrets>,
}

/// Runs an attempt to its end. `None`: it was told to stop, and there is nothing to report.
pub(crate) async fn drive(
    shop: &Workshop,
    assignment: Assignment,
    stop: &CancellationToken,
    trace: &Trace,
) -> Option<Ended> {
    let (claimed, since) = (Instant::now(), SystemTime::now());
    let cell = Cell {
        shop,
        attempt: assignment.attempt,
        name: assignment.task.cell.clone(),
        limits: shop.config.granted(&assignment.limits),
        secrets: Arc::new(Secrets::of(&assignment)),
    };
    let spec = cell.spec(&assignment.image);
    shop.runtimes.used(&assignment.image);
    let taken =
        stop.run_until_cancelled(shop.pool.take(&spec, shop.config.pool.take_max())).await?;
    let lent = match taken {
        Ok(lent) => lent,
        Err(error) => {
            // Whatever the reason, the next task looks whether its image is there.
            shop.runtimes.forget(&assignment.image);
            let failure = verdict::not_started(&error);
            trace.picked_up(since, Some(&failure));
            return Some(cell.failed(failure, Figures::default()));
        }
    };
    let claim = Claim { at: claimed, since, trace };
    let (name, secrets) = (cell.name.clone(), cell.secrets.clone());
    let record = Record::new(shop.upstream.clone(), cell.attempt, name, secrets);
    let ended = Box::pin(cell.run(lent, assignment, claim, stop, &record)).await;
    // Whatever became of the attempt: what it connected to stays known.
    record.finish(&shop.metrics, trace).await;
    ended
}

impl Cell<'_> {
    fn spec(&self, image: &str) -> SlotSpec {
        let pool_bytes = self.shop.config.limits.tmpfs_bytes;
        SlotSpec {
            image: image.to_owned(),
            // `/tmp` cannot be resized. A task that asks for less gets the pool's, whose pages
            // count against the task's memory in any case.
            tmpfs_bytes: self.limits.tmpfs_bytes.max(pool_bytes),
        }
    }

    fn failed(&self, failure: Failure, figures: Figures) -> Ended {
        Ended { outcome: ReportOutcome::Failed { failure }, figures }
    }

    /// Whatever ends it, the container is on its way out at once, and what it said is kept.
    async fn run(
        self,
        mut lent: Lent,
        assignment: Assignment,
        claim: Claim<'_>,
        stop: &CancellationToken,
        record: &Record,
    ) -> Option<Ended> {
        let container = lent.container.clone();
        let files = Nameable::of(&assignment.task);
        let bases = Bases::of(&assignment.task);
        let job = self.job(assignment);
        let mut figures = Figures { container: Some(container.clone()), ..Figures::default() };
        let spent = Spent::begin(lent.cgroup.clone());
        let begun = stop.run_until_cancelled(self.shop.sandbox.run(&mut lent, job)).await?;
        let running = match begun {
            Ok(running) => running,
            Err(error) => {
                let failure = verdict::not_begun(&error);
                claim.trace.picked_up(claim.since, Some(&failure));
                return Some(self.failed(failure, figures));
            }
        };
        record.follow(running.ledger);
        claim.trace.picked_up(claim.since, None);
        let (begun, since) = (Instant::now(), SystemTime::now());
        figures.pick_up_ms = millis(begun.saturating_duration_since(claim.at));
        let desk = Desk {
            upstream: self.shop.upstream.clone(),
            attempt: self.attempt,
            secrets: self.secrets.clone(),
            files,
            bases,
            stored: AtomicU64::new(0),
        };
        let calls = Calls::open(desk, running.replies);
        let mut meter = Meter::new(self.limits.clone());
        let mut events = Events::open(self.shop.upstream.clone(), self.attempt);
        let close = {
            let frames = self.listen(running.frames, &mut meter, &mut events, &calls);
            self.watch(frames, &spent, container, stop).await
        };
        // What the kernel has counted can be read as long as the cell's processes wait for us.
        let strain = spent.strain();
        figures.run_ms = millis(begun.elapsed());
        figures.frames = meter.frames();
        figures.output_bytes = meter.output_bytes();
        figures.memory_peak_bytes = self.shop.sandbox.memory_peak_bytes(&lent);
        figures.cpu_ms = spent.cpu().map(millis);
        drop(calls);
        let outcome = stop.run_until_cancelled(self.outcome(close, strain, &lent)).await.flatten();
        claim.trace.ran(since, outcome.as_ref());
        // The container goes before the events are stored: its work is over either way.
        drop(lent);
        let Some(outcome) = outcome else {
            if timeout(KEEP_MAX, events.finish()).await.is_err() {
                let AttemptRef { run, task, attempt } = self.attempt;
                tracing::warn!(run.id = %run, task.id = task, attempt, "the last events of a stopped attempt are lost");
            }
            return None;
        };
        if let Err(error) = stop.run_until_cancelled(events.finish()).await? {
            let AttemptRef { run, task, attempt } = self.attempt;
            tracing::error!(run.id = %run, task.id = task, attempt, %error, "events were not stored");
            return Some(self.failed(verdict::not_stored(), figures));
        }
        Some(Ended { outcome, figures })
    }

    fn job(&self, assignment: Assignment) -> Job {
        let egress = (!assignment.egress.is_empty()).then(|| Policy {
            run: self.attempt.run,
            cell: self.name.clone(),
            rules: assignment.egress,
            settings: self.shop.config.egress.clone(),
            resolver: self.shop.resolver.clone(),
            closed: self.shop.closed.clone(),
        });
        let mut task = assignment.task;
        // The runner gives a clearer error than we can, if it knows what we will enforce.
        task.limits = FrameLimits {
            log_bytes_max: task.limits.log_bytes_max.min(self.limits.log_bytes_max),
            output_bytes_max: task.limits.output_bytes_max.min(self.limits.output_bytes_max),
            log_lines_max: Some(self.limits.log_lines_max),
            open_files: Some(self.limits.open_files),
            cpu_ms: Some(self.limits.cpu_ms),
        };
        Job { task, limits: self.limits.clone(), egress }
    }

    /// Deadline, processor time and the schedulers' word, over whatever the frames do.
    async fn watch(
        &self,
        frames: impl Future<Output = Close>,
        spent: &Spent,
        container: String,
        stop: &CancellationToken,
    ) -> Close {
        let (limit_ms, cpu_ms) = (self.limits.wall_ms, self.limits.cpu_ms);
        let over = |kind| Close::Failure(verdict::over(kind));
        let watched = timeout(Duration::from_millis(limit_ms), async {
            tokio::select! {
                close = frames => close,
                () = self.announce(container) => Close::Stopped,
                () = spent.cpu_over(&self.limits) => over(FailureKind::CpuTime { limit_ms: cpu_ms }),
                () = stop.cancelled() => Close::Stopped,
            }
        });
        watched.await.unwrap_or_else(|_| over(FailureKind::TimedOut { limit_ms }))
    }

    /// Tells the schedulers that the task has begun. Returns only when they refuse it. A cell that
    /// ends before they answer is told by its report alone, which names the container too.
    async fn announce(&self, container: String) {
        let began = WorkerRequestBody::Began { attempt: self.attempt, container };
        let Ok(request) = self.shop.upstream.encoded(began) else {
            return std::future::pending().await;
        };
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.shop.upstream.send(request.clone(), BEGAN_WAIT).await {
                Ok(SchedulerReply::Refused { reason }) => {
                    let AttemptRef { run, task, attempt } = self.attempt;
                    tracing::info!(run.id = %run, task.id = task, attempt, %reason, "attempt is not ours any more");
                    return;
                }
                Ok(SchedulerReply::Unavailable { .. }) | Err(_) => backoff.pause().await,
                Ok(_) => return std::future::pending().await,
            }
        }
    }

    async fn listen(
        &self,
        mut frames: FrameReader,
        meter: &mut Meter,
        events: &mut Events,
        calls: &Calls,
    ) -> Close {
        loop {
            let received = match frames.next().await {
                Some(Ok(received)) => received,
                // A killed process may leave a reset connection instead of an ended one.
                None | Some(Err(FrameError::Io(_))) => return Close::Silent,
                Some(Err(error)) => return Close::Failure(meter.unreadable(&error)),
            };
            if let Err(failure) = meter.count(&received) {
                return Close::Failure(failure);
            }
            let event = match received.frame {
                FromRunner::Result(result) => return Close::Result(result),
                FromRunner::Failure(body) => {
                    let body = self.secrets.mask().failure(body);
                    return Close::Reported(Box::new(body));
                }
                FromRunner::Ready(_) => {
                    return Close::Failure(meter::violation("it reported ready twice"));
                }
                FromRunner::Call(call) => {
                    calls.put(call).await;
                    continue;
                }
                FromRunner::Event(event) => Some(self.langflow(event)),
                FromRunner::Log(log) => self.log(log, meter),
            };
            if let Some(kind) = event
                && events.put(kind).await.is_err()
            {
                return Close::Failure(meter::violation("an event cannot be encoded"));
            }
        }
    }

    fn langflow(&self, event: proto::frame::Event) -> RunEventKind {
        let mask = self.secrets.mask();
        RunEventKind::Langflow {
            cell: self.name.clone(),
            attempt: self.attempt.attempt,
            event: mask.text(event.event),
            data: mask.value(event.data),
        }
    }

    fn log(&self, log: Log, meter: &mut Meter) -> Option<RunEventKind> {
        let mut text = self.secrets.mask().text(log.text);
        match meter.keep(&text) {
            Keep::All => {}
            Keep::Nothing => return None,
            Keep::Some(bytes, limit) => {
                text.truncate(bytes);
                text.push_str(&notice(limit));
            }
        }
        let stream = if log.stream == "stderr" { "stderr" } else { "stdout" };
        Some(RunEventKind::Log {
            cell: self.name.clone(),
            attempt: self.attempt.attempt,
            stream: stream.to_owned(),
            text,
        })
    }

    async fn outcome(&self, close: Close, strain: Strain, lent: &Lent) -> Option<ReportOutcome> {
        let failure = match close {
            Close::Result(result) => {
                let result = self.secrets.mask().result(*result);
                return Some(ReportOutcome::Done { result });
            }
            Close::Reported(body) => verdict::reported(*body, &self.limits, strain),
            Close::Failure(failure) => failure,
            Close::Silent => {
                verdict::silent(self.shop.sandbox.examine(lent).await, &self.limits, strain)
            }
            Close::Stopped => return None,
        };
        Some(ReportOutcome::Failed { failure })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
