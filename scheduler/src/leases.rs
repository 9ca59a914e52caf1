//! Ends attempts whose worker is gone.
//!
//! Apart from the rest of the sweep, which may archive hundreds of event logs in a round: what a
//! dead worker held must be elsewhere soon, however much else there is to do.

use std::sync::Arc;
use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::run::Command;
use futures::StreamExt;
use store::{ExpiredAttempt, now};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::sweep::{BATCH, quietly, told};

/// Attempts that are ended at the same time.
const AT_ONCE: usize = 16;

/// The part that looks for lost workers. Every scheduler has one; of two that find the same, one
/// transition wins.
pub(crate) struct Leases {
    engine: Arc<Engine>,
    every: Duration,
}

impl Leases {
    pub(crate) fn new(engine: Arc<Engine>, every: Duration) -> Self {
        Self { engine, every }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            told("looking for lost workers", self.round(&stop).await);
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) -> Result<(), Error> {
        let found = self.engine.store.engine().expired_attempts(now(), BATCH).await?;
        let found = found.into_iter().take_while(|_| !stop.is_cancelled());
        let end = |expired| self.end(expired);
        futures::stream::iter(found).for_each_concurrent(AT_ONCE, end).await;
        Ok(())
    }

    async fn end(&self, expired: ExpiredAttempt) {
        let ExpiredAttempt { run, task, attempt, worker } = expired;
        tracing::warn!(
            run.id = %run,
            task.id = task,
            attempt,
            worker.epoch = %worker,
            "the worker of an attempt is lost"
        );
        let command = Command::Lost { task, attempt, worker, failure: worker_lost() };
        quietly(run, self.engine.transition(run, &command).await);
    }
}

/// What is recorded when a worker is gone.
pub(crate) fn worker_lost() -> Failure {
    Failure::new(FailureKind::WorkerLost, "the worker that ran this was lost")
}
