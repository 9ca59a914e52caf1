//! What an attempt connected to, kept with its run: now and then while it lasts, and once more at
//! its end, whichever way it ends. Hosts are masked as everything else that leaves the worker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::connection::{ConnectionLog, ConnectionState};
use proto::message::{AttemptRef, SchedulerReply, WorkerRequestBody};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::mask::Secrets;
use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::trace::Trace;
use crate::upstream::Upstream;
use egress::Ledger;

/// Between two looks: what a worker that is killed can lose.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// One try at telling the schedulers.
const TRY_MAX: Duration = Duration::from_secs(2);
/// The report of an attempt waits this long for its connections to be stored.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// Afterwards they are tried for this long, beside it.
const LATE_MAX: Duration = Duration::from_secs(60);

/// The record of one attempt.
#[derive(Debug)]
pub(super) struct Record {
    desk: Arc<Desk>,
    following: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    upstream: Upstream,
    attempt: AttemptRef,
    cell: String,
    secrets: Arc<Secrets>,
    ledger: OnceLock<Arc<Ledger>>,
}

impl Record {
    pub(super) fn new(
        upstream: Upstream,
        attempt: AttemptRef,
        cell: String,
        secrets: Arc<Secrets>,
    ) -> Self {
        let ledger = OnceLock::new();
        let desk = Arc::new(Desk { upstream, attempt, cell, secrets, ledger });
        Self { desk, following: OnceLock::new() }
    }

    /// Begins to follow what the cell connects to, if it may at all.
    pub(super) fn follow(&self, ledger: Option<Arc<Ledger>>) {
        let Some(ledger) = ledger else { return };
        if self.desk.ledger.set(ledger.clone()).is_ok() {
            let desk = self.desk.clone();
            let following = tokio::spawn(async move { desk.follow(&ledger).await });
            let _ = self.following.set(AbortOnDropHandle::new(following));
        }
    }

    /// Stores what there is, after the container's end. Does not fail: what is not stored in time
    /// goes on being tried while the attempt is reported.
    pub(super) async fn finish(self, metrics: &Metrics, trace: &Trace) {
        let Self { desk, following } = self;
        drop(following);
        let Some(ledger) = desk.ledger.get().filter(|ledger| ledger.revision() > 0) else { return };
        let log = desk.last(ledger);
        metrics.connected(&log);
        trace.connected(&log);
        let mut storing = tokio::spawn(async move { desk.store(log, LATE_MAX).await });
        // Not aborted when the time is up: it goes on by itself.
        let _ = timeout(FINISH_MAX, &mut storing).await;
    }
}

impl Desk {
    async fn follow(&self, ledger: &Ledger) {
        let mut stored = 0;
        loop {
            sleep(LOOK_EVERY).await;
            let revision = ledger.revision();
            if revision > stored && self.store(self.masked(ledger), TRY_MAX).await {
                stored = revision;
            }
        }
    }

    fn masked(&self, ledger: &Ledger) -> ConnectionLog {
        let mask = self.secrets.mask();
        let mut log = ledger.log();
        for entry in &mut log.entries {
            entry.host = mask.folded(std::mem::take(&mut entry.host));
            entry.reason = entry.reason.take().map(|reason| mask.folded(reason));
        }
        log
    }

    /// The ledger as it stays: whatever is open ends with the cell.
    fn last(&self, ledger: &Ledger) -> ConnectionLog {
        let mut log = self.masked(ledger);
        // Later than every look, even if that arrives after this.
        log.revision = log.revision.saturating_add(1);
        for entry in &mut log.entries {
            if entry.state == ConnectionState::Open {
                entry.state = ConnectionState::Closed;
                entry.reason = Some("the cell ended first".to_owned());
            }
            tracing::debug!(
                run.id = %self.attempt.run,
                task.id = self.attempt.task,
                attempt = self.attempt.attempt,
                cell.id = %self.cell,
                egress.host = %entry.host,
                egress.port = entry.port,
                egress.state = ?entry.state,
                egress.bytes_up = entry.bytes_up,
                egress.bytes_down = entry.bytes_down,
                "egress"
            );
        }
        log
    }

    /// Whether it was stored, or never will be.
    async fn store(&self, log: ConnectionLog, at_most: Duration) -> bool {
        let AttemptRef { run, task, attempt } = self.attempt;
        let body = WorkerRequestBody::Connections { attempt: self.attempt, log };
        let Ok(request) = self.upstream.encoded(body) else {
            tracing::error!(run.id = %run, task.id = task, attempt, "connections cannot be encoded");
            return true;
        };
        let until = Instant::now() + at_most;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.upstream.send(request.clone(), TRY_MAX).await {
                Ok(SchedulerReply::Accepted) => return true,
                Ok(SchedulerReply::Refused { reason }) => {
                    tracing::warn!(run.id = %run, task.id = task, attempt, %reason, "connections are not recorded");
                    return true;
                }
                Ok(_) | Err(_) if Instant::now() < until => backoff.pause().await,
                Ok(_) => return false,
                Err(error) => {
                    tracing::warn!(run.id = %run, task.id = task, attempt, %error, "connections are not recorded");
                    return false;
                }
            }
        }
    }
}
