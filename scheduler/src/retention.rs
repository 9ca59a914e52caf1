//! Removes what is older than its tenant keeps it, one scheduler at a time, beside the work.
//!
//! ```text
//! every few minutes   for each tenant:  ended runs ─▶ logs on the bus ─▶ payloads they referred to
//!                     objects that no payload refers to
//! once a day          for each tenant:  all payloads that nobody refers to
//! ```
//! Small transactions with pauses between them, so that the work of runs always finds a connection
//! and no lock is held for long. Nothing is remembered between rounds: what was left is found again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::id::TenantId;
use domain::retention::Settings;
use store::{Expired, now};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::Error;

/// Runs of one transaction: some milliseconds on Postgres, below a tenth of a second on SQLite,
/// where nobody else writes meanwhile.
const RUNS_BATCH: u32 = 100;

/// Payloads that one transaction looks at.
const PAYLOADS_BATCH: u64 = 200;

/// Objects that one batch deletes.
const OBJECTS_BATCH: u64 = 100;

/// The pause after a batch is so many times as long as the batch took: a fifth of one connection,
/// and less of the database the busier it is.
const PAUSE_TIMES: u32 = 4;

/// A payload that was wanted within this time is left alone, and so is an object that nothing
/// refers to yet: an upload takes less.
const GRACE: Duration = Duration::from_secs(3_600);

/// How often all payloads are looked at. Runs that are removed name theirs; what is left over is of
/// deleted flows and of transitions that lost a race.
const PAYLOADS_EVERY: Duration = Duration::from_secs(86_400);

/// Other schedulers leave the work to this one for so long after its last batch.
const LEASE: Duration = Duration::from_secs(60);

/// How often the log tells how far a long round is.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The name under which schedulers take turns.
const SWEEP: &str = "retention";

/// The part that removes.
pub(crate) struct Remover {
    engine: Arc<Engine>,
    settings: Settings,
    holder: Uuid,
    payloads_looked_at: Option<Instant>,
}

/// What a round did.
struct Round {
    started: Instant,
    told: Instant,
    runs: u64,
    payloads: u64,
    objects: u64,
}

/// Why a round ends before its time.
enum Stop {
    /// The scheduler ends, or another one has taken over.
    Left,
    /// Something failed.
    Failed(Error),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<bus::Error> for Stop {
    fn from(error: bus::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Remover {
    pub(crate) fn new(engine: Arc<Engine>, settings: Settings) -> Self {
        Self { engine, settings, holder: Uuid::now_v7(), payloads_looked_at: None }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let every = Duration::from_millis(self.settings.every_ms);
        while !stop.is_cancelled() {
            let mut round = Round::begin();
            let outcome = self.round(&mut round, &stop).await;
            round.tell(true);
            if let Err(Stop::Failed(error)) = outcome {
                tracing::warn!(error = %error, "removing what is too old was interrupted");
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    async fn round(&mut self, round: &mut Round, stop: &CancellationToken) -> Result<(), Stop> {
        self.hold().await?;
        let tenants = self.engine.store.engine().retentions().await?;
        for (tenant, set) in &tenants {
            let retention = self.settings.of(*set);
            if let Some(ended_before) = retention.ended_before(now()) {
                let messages = retention.messages;
                let expired = Expired { tenant: *tenant, ended_before, messages };
                self.runs(&expired, round, stop).await?;
            }
        }
        if self.payloads_looked_at.is_none_or(|at| at.elapsed() >= PAYLOADS_EVERY) {
            for (tenant, _) in &tenants {
                self.payloads(*tenant, round, stop).await?;
            }
            self.payloads_looked_at = Some(Instant::now());
        }
        self.objects(round, stop).await
    }

    async fn runs(
        &self,
        expired: &Expired,
        round: &mut Round,
        stop: &CancellationToken,
    ) -> Result<(), Stop> {
        let engine = self.engine.store.engine();
        let batch = self.settings.runs_per_s_max.min(RUNS_BATCH);
        loop {
            let began = Instant::now();
            let removed = engine.remove_runs(expired, u64::from(batch)).await?;
            if removed.runs == 0 {
                return Ok(());
            }
            for run in removed.unarchived {
                self.engine.bus.forget(run).await?;
            }
            round.runs += removed.runs;
            let (tenant, hashes) = (expired.tenant, &removed.payloads);
            round.payloads += engine.remove_payloads(tenant, hashes, now() - GRACE).await?;
            let share = u32::try_from(removed.runs).unwrap_or(u32::MAX);
            let least = Duration::from_secs(1) * share / self.settings.runs_per_s_max;
            self.rest(began, least, round, stop).await?;
        }
    }

    async fn payloads(
        &self,
        tenant: TenantId,
        round: &mut Round,
        stop: &CancellationToken,
    ) -> Result<(), Stop> {
        let engine = self.engine.store.engine();
        let (untouched_since, mut after) = (now() - GRACE, Vec::new());
        loop {
            let began = Instant::now();
            let hashes =
                engine.payloads_after(tenant, &after, untouched_since, PAYLOADS_BATCH).await?;
            let Some(last) = hashes.last() else { return Ok(()) };
            after.clone_from(last);
            round.payloads += engine.remove_payloads(tenant, &hashes, untouched_since).await?;
            self.rest(began, Duration::ZERO, round, stop).await?;
        }
    }

    async fn objects(&self, round: &mut Round, stop: &CancellationToken) -> Result<(), Stop> {
        loop {
            let began = Instant::now();
            let engine = self.engine.store.engine();
            let removed = engine.remove_objects(now() - GRACE, OBJECTS_BATCH).await?;
            if removed == 0 {
                return Ok(());
            }
            round.objects += removed;
            self.rest(began, Duration::ZERO, round, stop).await?;
        }
    }

    /// Lets the work of runs come first.
    async fn rest(
        &self,
        began: Instant,
        least: Duration,
        round: &mut Round,
        stop: &CancellationToken,
    ) -> Result<(), Stop> {
        round.tell(false);
        let pause = (began.elapsed() * PAUSE_TIMES).max(least.saturating_sub(began.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(pause) => self.hold().await,
            () = stop.cancelled() => Err(Stop::Left),
        }
    }

    async fn hold(&self) -> Result<(), Stop> {
        let engine = self.engine.store.engine();
        let held = engine.hold_sweep(SWEEP, self.holder, now(), LEASE).await?;
        if held { Ok(()) } else { Err(Stop::Left) }
    }
}

impl Round {
    fn begin() -> Self {
        let now = Instant::now();
        Self { started: now, told: now, runs: 0, payloads: 0, objects: 0 }
    }

    /// Tells what was done so far: now and then, and at the end of a round that did anything.
    fn tell(&mut self, at_the_end: bool) {
        let did_any = self.runs + self.payloads + self.objects > 0;
        if !did_any || !(at_the_end || self.told.elapsed() >= TOLD_EVERY) {
            return;
        }
        self.told = Instant::now();
        tracing::info!(
            runs = self.runs,
            payloads = self.payloads,
            objects = self.objects,
            elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            is_done = at_the_end,
            "removed what is older than its tenant keeps it"
        );
    }
}
