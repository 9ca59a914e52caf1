//! The attempts that this worker holds, and how long it may.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::message::AttemptRef;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All attempts of a worker. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    attempts: Mutex<HashMap<AttemptRef, Entry>>,
    count: watch::Sender<usize>,
}

#[derive(Debug)]
struct Entry {
    stop: CancellationToken,
    /// When the lease was last known to begin.
    renewed: Instant,
    /// False once only its report is missing: that is kept however long it takes.
    running: bool,
}

/// One held attempt; given up when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    held: Held,
    attempt: AttemptRef,
    stop: CancellationToken,
}

impl Held {
    pub(crate) fn new() -> Self {
        let inner = Inner { attempts: Mutex::default(), count: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<AttemptRef, Entry>> {
        self.inner.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds an attempt whose claim was sent at `claimed`.
    pub(crate) fn enter(&self, attempt: AttemptRef, claimed: Instant) -> Hold {
        let stop = CancellationToken::new();
        let entry = Entry { stop: stop.clone(), renewed: claimed, running: true };
        let count = {
            let mut attempts = self.attempts();
            attempts.insert(attempt, entry);
            attempts.len()
        };
        self.inner.count.send_replace(count);
        Hold { held: self.clone(), attempt, stop }
    }

    /// What is held now, for a heartbeat.
    pub(crate) fn list(&self) -> Vec<AttemptRef> {
        self.attempts().keys().copied().collect()
    }

    /// Ends one attempt, if it is held.
    pub(crate) fn stop(&self, attempt: AttemptRef) {
        if let Some(entry) = self.attempts().get(&attempt) {
            tracing::info!(run.id = %attempt.run, task.id = attempt.task, attempt = attempt.attempt, "stopping an attempt");
            entry.stop.cancel();
        }
    }

    /// Ends every attempt.
    pub(crate) fn stop_all(&self) {
        for entry in self.attempts().values() {
            entry.stop.cancel();
        }
    }

    /// A heartbeat that was sent at `sent` and named these attempts was accepted.
    pub(crate) fn renew(&self, named: &[AttemptRef], sent: Instant) {
        let mut attempts = self.attempts();
        for attempt in named {
            if let Some(entry) = attempts.get_mut(attempt) {
                entry.renewed = entry.renewed.max(sent);
            }
        }
    }

    /// Ends the running attempts whose lease is over by `now`: somebody else may have them.
    pub(crate) fn lapse(&self, now: Instant, lease: Duration) -> usize {
        let attempts = self.attempts();
        let over = attempts.values().filter(|entry| {
            entry.running
                && !entry.stop.is_cancelled()
                && now.saturating_duration_since(entry.renewed) >= lease
        });
        over.map(|entry| entry.stop.cancel()).count()
    }

    /// Waits until nothing is held.
    pub(crate) async fn empty(&self) {
        let mut count = self.inner.count.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Hold {
    /// Cancelled when the attempt is to end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The container is gone; only the report is missing.
    pub(crate) fn reporting(&self) {
        if let Some(entry) = self.held.attempts().get_mut(&self.attempt) {
            entry.running = false;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let count = {
            let mut attempts = self.held.attempts();
            attempts.remove(&self.attempt);
            attempts.len()
        };
        self.held.inner.count.send_replace(count);
    }
}

#[cfg(test)]
mod tests {
    use domain::id::RunId;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn attempt(task: u32) -> AttemptRef {
        AttemptRef { run: RunId(uuid::Uuid::nil()), task, attempt: 1 }
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_what_runs_but_not_what_reports() {
        let held = Held::new();
        let start = Instant::now();
        let running = held.enter(attempt(1), start);
        let renewed = held.enter(attempt(2), start);
        let reporting = held.enter(attempt(3), start);
        reporting.reporting();
        held.renew(&[attempt(2), attempt(9)], start + Duration::from_secs(4));
        assert_eq!(held.lapse(start + Duration::from_secs(9), LEASE), 0);
        assert_eq!(held.lapse(start + LEASE, LEASE), 1);
        assert!(running.stop().is_cancelled());
        assert!(!renewed.stop().is_cancelled() && !reporting.stop().is_cancelled());
        assert_eq!(held.lapse(start + LEASE, LEASE), 0, "only once");
    }

    #[tokio::test]
    async fn empty_waits_for_the_last() {
        let held = Held::new();
        held.empty().await;
        let hold = held.enter(attempt(1), Instant::now());
        assert_eq!(held.list(), [attempt(1)]);
        held.stop(attempt(1));
        assert!(hold.stop().is_cancelled());
        drop(hold);
        held.empty().await;
    }
}
