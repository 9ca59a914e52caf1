//! Sends runs to one target: a closed loop of callers, or an open loop by schedule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::config::{Arrivals, Bound, Pace};
use super::progress::Progress;
use super::record::Recorder;
use super::schedule::Schedule;

/// How long past its end an open loop still sends: the timer wakes late, and the last runs due
/// must not count as unsent for that.
const SEND_GRACE: Duration = Duration::from_millis(250);

/// One target and its counts.
#[derive(Debug)]
pub(crate) struct Lane {
    client: Client,
    streamed: bool,
    recorder: Mutex<Recorder>,
    progress: Arc<Progress>,
    stop: CancellationToken,
}

/// A part of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) pace: Pace,
    pub(crate) bound: Bound,
    /// Added to the seed, so that slices differ and targets do not.
    pub(crate) index: u32,
}

/// When a closed loop ends.
#[derive(Debug)]
struct Tickets {
    taken: AtomicU64,
    runs: Option<u64>,
    ends: Option<Instant>,
}

/// Whether a run that is due may be sent.
#[derive(Debug)]
enum Slot {
    Free(OwnedSemaphorePermit),
    Over,
    Stopped,
}

impl Lane {
    pub(crate) fn new(
        client: Client,
        streamed: bool,
        progress: Arc<Progress>,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        let recorder = Mutex::new(Recorder::new()?);
        Ok(Arc::new(Self { client, streamed, recorder, progress, stop }))
    }

    /// The counts. No code panics with the lock held, and they would be usable if it did.
    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs and counts, unless everything is stopped meanwhile.
    async fn run(&self, slice_started: Instant, due: Instant) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            sample = self.client.run(due) => {
                self.progress.run_finished(sample.result.is_ok());
                self.recorder().finished(slice_started.elapsed(), self.streamed, sample);
            }
        }
    }
}

/// Drives one slice until its bound, and waits for the answers.
pub(crate) async fn drive(lane: &Arc<Lane>, slice: Slice) -> anyhow::Result<()> {
    let started = Instant::now();
    match slice.pace {
        Pace::Closed { concurrency } => {
            closed(lane, concurrency, slice.bound, started).await?;
            lane.recorder().slice_over(started.elapsed());
        }
        Pace::Open { rate_per_s, arrivals, seed, in_flight_max } => {
            let schedule = schedule(rate_per_s, arrivals, seed, slice.index);
            let span = open(lane, schedule, in_flight_max, slice.bound, started).await?;
            // Two runs a second for one second last a second, though the second one is answered
            // after half of it.
            let lasted = if lane.stop.is_cancelled() { Duration::ZERO } else { span };
            lane.recorder().slice_over(started.elapsed().max(lasted));
        }
    }
    Ok(())
}

fn schedule(rate_per_s: f64, arrivals: Arrivals, seed: u64, slice: u32) -> Schedule {
    Schedule::new(rate_per_s, arrivals, seed.wrapping_add(u64::from(slice)))
}

async fn closed(
    lane: &Arc<Lane>,
    concurrency: usize,
    bound: Bound,
    started: Instant,
) -> anyhow::Result<()> {
    let ends = bound.duration.map(|duration| started + duration);
    let tickets = Arc::new(Tickets { taken: AtomicU64::new(0), runs: bound.runs, ends });
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        let (lane, tickets) = (Arc::clone(lane), Arc::clone(&tickets));
        callers.spawn(async move {
            while tickets.take() && !lane.stop.is_cancelled() {
                lane.run(started, Instant::now()).await;
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        ended(caller)?;
    }
    Ok(())
}

/// Returns how long the runs sent were spread over.
async fn open(
    lane: &Arc<Lane>,
    mut schedule: Schedule,
    in_flight_max: usize,
    bound: Bound,
    started: Instant,
) -> anyhow::Result<Duration> {
    let slots = Arc::new(Semaphore::new(in_flight_max));
    let closes = bound.duration.map(|duration| started + duration + SEND_GRACE);
    let mut flying = JoinSet::new();
    let mut planned = 0_u64;
    let mut over = false;
    let span = loop {
        let due = schedule.next_due();
        let end = bound.duration.unwrap_or(Duration::MAX);
        if bound.runs == Some(planned) || due >= end {
            break due.min(end);
        }
        if !over {
            match slot(&slots, started + due, closes, &lane.stop).await {
                Slot::Free(permit) => {
                    let lane = Arc::clone(lane);
                    flying.spawn(async move {
                        lane.run(started, started + due).await;
                        drop(permit);
                    });
                }
                Slot::Over => over = true,
                Slot::Stopped => break due,
            }
        }
        if over {
            lane.recorder().unsent();
        }
        planned += 1;
        while let Some(run) = flying.try_join_next() {
            ended(run)?;
        }
    };
    lane.recorder().offered(planned, span);
    while let Some(run) = flying.join_next().await {
        ended(run)?;
    }
    Ok(span)
}

/// Waits until the run is due and another may be in flight.
async fn slot(
    slots: &Arc<Semaphore>,
    due: Instant,
    closes: Option<Instant>,
    stop: &CancellationToken,
) -> Slot {
    let free = async {
        tokio::time::sleep_until(due).await;
        Arc::clone(slots).acquire_owned().await
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Slot::Stopped,
        () = until(closes) => Slot::Over,
        // The semaphore is never closed; were it, nothing more could be sent.
        permit = free => permit.map_or(Slot::Stopped, Slot::Free),
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn ended(task: Result<(), JoinError>) -> anyhow::Result<()> {
    task.context("a caller of the load generator died")
}

impl Tickets {
    /// Whether one more run may begin.
    fn take(&self) -> bool {
        self.ends.is_none_or(|ends| Instant::now() < ends)
            && self.runs.is_none_or(|runs| self.taken.fetch_add(1, Ordering::Relaxed) < runs)
    }
}
