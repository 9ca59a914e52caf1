//! An orderly end: the first signal asks for it, the second or a deadline forces it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells every part of a process to end, and waits until they have.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    token: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    running: Arc<Running>,
}

/// The parts that have not ended, by the order of their start.
#[derive(Debug, Default)]
struct Running {
    started: AtomicU64,
    names: Mutex<BTreeMap<u64, &'static str>>,
}

/// Takes a part from the list when it ends, however it does.
struct Entry {
    running: Arc<Running>,
    number: u64,
}

impl Running {
    fn enter(self: &Arc<Self>, name: &'static str) -> Entry {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        self.names().insert(number, name);
        Entry { running: Arc::clone(self), number }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, &'static str>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.names().remove(&self.number);
    }
}

impl Drain {
    /// A new, quiet one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled once the process is to end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs a part of the process; [`Drain::finish`] waits for it, and names it if it does not end.
    pub fn spawn<F>(&self, name: &'static str, part: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let entry = self.running.enter(name);
        self.tasks.spawn(async move {
            let _entry = entry;
            part.await;
        });
    }

    /// Asks every part to end.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// A part cannot go on: asks every other one to end, and the process has failed.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.begin();
    }

    /// Waits for SIGTERM or SIGINT, or for somebody to call [`Drain::begin`].
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub async fn wait_for_signal(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("received SIGTERM, draining"),
            _ = interrupt.recv() => tracing::info!("received SIGINT, draining"),
            () = self.token.cancelled() => {}
        }
        self.begin();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("received a second signal, ending at once");
            std::process::exit(1);
        });
        Ok(())
    }

    /// The parts that have not ended.
    fn still_running(&self) -> Vec<&'static str> {
        self.running.names().values().copied().collect()
    }

    /// Waits until every part has ended, at most `patience`. Returns whether they all have, and
    /// none of them failed.
    pub async fn finish(&self, patience: Duration) -> bool {
        self.begin();
        self.tasks.close();
        let ended = tokio::time::timeout(patience, self.tasks.wait()).await.is_ok();
        if !ended {
            let parts = self.still_running().join(", ");
            tracing::error!(parts, "these parts did not end in time");
        }
        ended && !self.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finish_waits_for_parts_but_not_forever() {
        let drain = Drain::new();
        let token = drain.token();
        drain.spawn("obedient", async move { token.cancelled().await });
        assert!(drain.finish(Duration::from_secs(5)).await);
        assert!(drain.still_running().is_empty());

        let broken = Drain::new();
        broken.fail();
        assert!(broken.token().is_cancelled() && !broken.finish(Duration::from_secs(5)).await);

        let stuck = Drain::new();
        stuck.spawn("short", async {});
        stuck.spawn("stuck", std::future::pending());
        assert!(!stuck.finish(Duration::from_secs(5)).await);
        assert_eq!(stuck.still_running(), ["stuck"]);
    }
}
