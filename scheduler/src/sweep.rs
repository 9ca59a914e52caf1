//! What the clock demands: lost messages, retries that are due, deadlines, outbox; ended leases have
//! a part of their own ([`crate::leases`]).
//!
//! Every scheduler sweeps; whatever two of them find at the same time, one transition wins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::id::RunId;
use domain::run::Command;
use store::now;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Start};
use crate::error::Error;
use crate::human::Answers;

/// Rows handled in one round; the next round comes soon.
pub(crate) const BATCH: u64 = 200;

/// An outbox row is the business of whoever wrote it for this long.
const OUTBOX_GRACE: Duration = Duration::from_secs(1);

/// A child that is still queued after this long is started by the sweep.
const CHILD_GRACE: Duration = Duration::from_secs(5);

/// How long published outbox rows and dead workers are kept.
const PRUNE_AFTER: Duration = Duration::from_secs(600);

/// How often they are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The part that looks at the clock.
pub(crate) struct Sweep {
    engine: Arc<Engine>,
    every: Duration,
    archive_after: Duration,
    pruned: Option<Instant>,
    stop: CancellationToken,
}

impl Sweep {
    pub(crate) fn new(engine: Arc<Engine>, every: Duration, archive_after: Duration) -> Self {
        Self { engine, every, archive_after, pruned: None, stop: CancellationToken::new() }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.stop = stop.clone();
        while !stop.is_cancelled() {
            self.round().await;
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// What was found, as long as this process goes on. A round may find hundreds of runs, and on a
    /// busy host that takes longer than a drain may.
    fn found<F: IntoIterator>(&self, found: F) -> impl Iterator<Item = F::Item> {
        let stop = self.stop.clone();
        found.into_iter().take_while(move |_| !stop.is_cancelled())
    }

    /// Every part gets its turn whatever happens to the others.
    async fn round(&mut self) {
        told("relaying the outbox", self.relay().await);
        told("ending runs that are late", self.late().await);
        told("repeating offers", self.reoffer().await);
        told("ending delays", self.delayed().await);
        told("starting children", self.children().await);
        told("ending children of ended runs", self.orphans().await);
        told("looking for decisions", self.answered().await);
        told("archiving event logs", self.archive().await);
        if self.pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            let pruned = self.engine.store.engine().prune(now() - PRUNE_AFTER).await;
            told("pruning", pruned.map(drop).map_err(Error::from));
        }
    }

    /// Publishes what its writer did not.
    async fn relay(&self) -> Result<(), Error> {
        let left = self.engine.store.engine().unpublished(BATCH, now() - OUTBOX_GRACE).await?;
        self.engine.publish(&left).await;
        Ok(())
    }

    /// Ends runs whose deadline has passed.
    async fn late(&self) -> Result<(), Error> {
        let found = self.engine.store.engine().runs_late(now(), BATCH).await?;
        for run in self.found(found) {
            quietly(run, self.engine.transition(run, &Command::Wake).await);
        }
        Ok(())
    }

    /// Offers again what nobody took: the message may be lost.
    async fn reoffer(&self) -> Result<(), Error> {
        let found = self.engine.store.engine().lost_offers(now(), BATCH).await?;
        for (run, tasks) in self.found(found) {
            quietly(run, self.engine.transition(run, &Command::Offer { tasks }).await);
        }
        Ok(())
    }

    /// Lets runs into the queue whose time has come.
    async fn delayed(&self) -> Result<(), Error> {
        if self.engine.store.engine().end_delays(now()).await? > 0 {
            self.engine.admission.want_round();
        }
        Ok(())
    }

    /// Starts children of runs whose message was lost: rounds do not look for them.
    async fn children(&self) -> Result<(), Error> {
        let store = self.engine.store.engine();
        let found = store.unstarted_children(now() - CHILD_GRACE, BATCH).await?;
        for run in self.found(found) {
            quietly(run, self.engine.transition(run, &Start::Asked).await);
        }
        Ok(())
    }

    /// Ends runs that nobody waits for any more.
    async fn orphans(&self) -> Result<(), Error> {
        let found = self.engine.store.engine().orphaned_runs(BATCH).await?;
        for run in self.found(found) {
            quietly(run, self.engine.transition(run, &Command::Cancel).await);
        }
        Ok(())
    }

    /// Goes on with runs whose question is answered, but whose message was lost.
    async fn answered(&self) -> Result<(), Error> {
        let found = self.engine.store.engine().runs_answered(BATCH).await?;
        for run in self.found(found) {
            quietly(run, self.engine.transition(run, &Answers).await);
        }
        Ok(())
    }

    /// Moves event logs of ended runs from the bus to the store.
    async fn archive(&self) -> Result<(), Error> {
        let store = self.engine.store.engine();
        let found = store.runs_to_archive(now() - self.archive_after, BATCH).await?;
        for run in self.found(found) {
            quietly(run, self.archive_one(run).await);
        }
        Ok(())
    }

    async fn archive_one(&self, run: RunId) -> Result<(), Error> {
        let mut log = Vec::new();
        for entry in self.engine.bus.snapshot(run).await? {
            log.extend_from_slice(&entry);
            log.push(b'\n');
        }
        self.engine.store.engine().archive_event_log(run, &log).await?;
        self.engine.bus.forget(run).await?;
        Ok(())
    }
}

/// A refusal only says that somebody else was faster; any other error is this run's alone.
pub(crate) fn quietly<T>(run: RunId, outcome: Result<T, Error>) {
    match outcome {
        Ok(_) | Err(Error::Refused(_) | Error::NoRun(_)) => {}
        Err(error) => tracing::warn!(run.id = %run, error = %error, "the sweep passes a run over"),
    }
}

pub(crate) fn told(doing: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::warn!(error = %error, doing, "the sweep was interrupted");
    }
}
