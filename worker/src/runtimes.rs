//! Images with a flow's own packages: made ready here when a task needs one, used by `warm` cells
//! only, removed when others were used since.
//!
//! ```text
//! order ─ resolve (container) ─ lock ─▶ scheduler ─ the lock that counts
//!       └ install (container) ─ tar ─ checked entry by entry ─ layer on the runner image ─▶ ready
//! ```
//! Nothing of a package runs outside a container: both steps happen in throwaway containers like
//! cells, the archive is data to us, and the engine only unpacks and stores it.

mod build;
mod images;
mod layer;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::id::RunId;
use domain::runtime::IMAGES;
use proto::message::{RuntimeOrder, RuntimeProgress, WorkerRequestBody};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::sandbox::containers::Containers;
use crate::upstream::Upstream;
use build::Error;
use egress::{Closed, Resolve};
use images::Images;

/// One wait for the answer to a report about a build.
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// Tasks that wait here for an image; more are taken when they are offered again.
const WAITING_MAX: usize = 1_000;
/// Who waited for a build that failed need not build it again.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// Whether this image has packages of a tenant: such cells share no process with others.
pub(crate) fn is_packaged(image: &str) -> bool {
    image.strip_prefix(IMAGES).is_some_and(|rest| rest.starts_with(':'))
}

/// What builds are made with.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) config: Arc<Config>,
    pub(crate) sandbox: Containers,
    pub(crate) upstream: Upstream,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) closed: Arc<Closed>,
}

/// The images of this worker.
#[derive(Debug)]
pub(crate) struct Runtimes {
    tools: Tools,
    images: Images,
    /// Images that are here, and when each was last used.
    ready: Mutex<HashMap<String, Instant>>,
    failed: Mutex<HashMap<String, Instant>>,
    waiting: Mutex<HashSet<(RunId, u32)>>,
    /// One build at a time: it competes with running cells.
    building: tokio::sync::Mutex<()>,
    closed: CancellationToken,
}

/// A task's place among those that wait.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    runtimes: &'a Runtimes,
    task: (RunId, u32),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        locked(&self.runtimes.waiting).remove(&self.task);
    }
}

impl Runtimes {
    pub(crate) fn new(tools: Tools) -> Self {
        let images = Images::of(&tools);
        Self {
            tools,
            images,
            ready: Mutex::default(),
            failed: Mutex::default(),
            waiting: Mutex::default(),
            building: tokio::sync::Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    /// The images that are ready, as a claim names them.
    pub(crate) fn ready(&self) -> Vec<String> {
        locked(&self.ready).keys().cloned().collect()
    }

    /// An image was used.
    pub(crate) fn used(&self, image: &str) {
        if let Some(used) = locked(&self.ready).get_mut(image) {
            *used = Instant::now();
        }
    }

    /// An image is not here any more.
    pub(crate) fn forget(&self, image: &str) {
        locked(&self.ready).remove(image);
    }

    /// A place among those that wait; none when the task waits here already.
    pub(crate) fn wait(&self, run: RunId, task: u32) -> Option<Waiting<'_>> {
        let task = (run, task);
        let mut waiting = locked(&self.waiting);
        let is_new = waiting.len() < WAITING_MAX && waiting.insert(task);
        is_new.then_some(Waiting { runtimes: self, task })
    }

    /// Nothing is built any more, and nobody waits.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Makes an image ready, or says why it cannot be. Returns whether it is worth asking for the
    /// task again.
    pub(crate) async fn prepare(&self, order: &RuntimeOrder) -> bool {
        self.closed.run_until_cancelled(Box::pin(self.prepared(order))).await.is_some()
    }

    async fn prepared(&self, order: &RuntimeOrder) {
        let _one_at_a_time = self.building.lock().await;
        let has_failed = locked(&self.failed).get(&order.image).map(Instant::elapsed);
        if self.ready().contains(&order.image) || has_failed.is_some_and(|ago| ago < FAILED_FOR) {
            return;
        }
        let started = Instant::now();
        let progress = match self.build(order).await {
            Ok(()) => {
                locked(&self.ready).insert(order.image.clone(), Instant::now());
                let took_ms = started.elapsed().as_millis();
                tracing::info!(image = %order.image, took_ms, "a runtime is ready");
                RuntimeProgress::Ready
            }
            Err(error) => {
                locked(&self.failed).insert(order.image.clone(), Instant::now());
                tracing::warn!(image = %order.image, %error, "a runtime cannot be built");
                RuntimeProgress::Failed { reason: error.to_string() }
            }
        };
        self.report(order, progress).await;
        let keep = self.ready.lock().map(|ready| ready.clone()).unwrap_or_default();
        for image in self.images.remove_least_used(&keep).await {
            self.forget(&image);
        }
    }

    /// The image of an earlier process is as good as a new one.
    async fn build(&self, order: &RuntimeOrder) -> Result<(), Error> {
        if self.images.has(order).await? {
            return Ok(());
        }
        self.images.check_builder(order).await?;
        let lock = match &order.lock {
            Some(lock) => lock.clone(),
            None => {
                self.doing(order, "resolving").await;
                let resolved = build::resolve(&self.tools, order).await?;
                self.counts(order, resolved).await?
            }
        };
        self.doing(order, "installing").await;
        let archive = build::install(&self.tools, order, &lock).await?;
        self.doing(order, "storing").await;
        self.images.make(order, archive).await
    }

    /// The lock that counts: another worker may have been faster.
    async fn counts(&self, order: &RuntimeOrder, lock: String) -> Result<String, Error> {
        use proto::message::SchedulerReply;
        match self.ask(order, RuntimeProgress::Locked { lock }).await {
            Some(SchedulerReply::Lock { lock }) => Ok(lock),
            _ => Err(Error::Unheard),
        }
    }

    async fn doing(&self, order: &RuntimeOrder, doing: &str) {
        self.report(order, RuntimeProgress::Building { doing: doing.to_owned() }).await;
    }

    /// Lost reports cost nothing but knowledge: the image is what counts.
    async fn report(&self, order: &RuntimeOrder, progress: RuntimeProgress) {
        if self.ask(order, progress).await.is_none() {
            tracing::warn!(image = %order.image, "nobody heard how a runtime is doing");
        }
    }

    async fn ask(
        &self,
        order: &RuntimeOrder,
        progress: RuntimeProgress,
    ) -> Option<proto::message::SchedulerReply> {
        let body = WorkerRequestBody::Runtime {
            tenant: order.tenant,
            image: order.image.clone(),
            progress,
        };
        self.tools.upstream.ask(body, REPORT_WAIT).await.ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_of_ours_have_packages_of_a_tenant() {
        assert!(is_packaged("flowcell/runtime:0123"));
        for other in ["flowcell/runtime", "flowcell/runner:lfx-1.13", "flowcell/runtimes:1"] {
            assert!(!is_packaged(other), "{other}");
        }
    }
}
