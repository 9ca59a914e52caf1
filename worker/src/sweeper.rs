//! Removes what a worker left behind: containers and slot directories that nobody uses.
//!
//! The lifeline and the reaper end containers whose worker died; this finds what they could not,
//! and whatever a failed removal left.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptions;
use tokio::time::interval;

use crate::sandbox::SlotId;
use crate::sandbox::containers::{
    Containers, LABEL_CLUSTER, LABEL_EPOCH, LABEL_SLOT, LABEL_WORKER, Removal, remove_container,
};

/// How often the sweeper looks.
const EVERY: Duration = Duration::from_secs(10);
/// A container of another worker that was never started has no lifeline; after this long its
/// worker cannot be about to start it.
const NEVER_STARTED_AFTER_S: i64 = 300;

/// Sweeps one worker's leftovers.
#[derive(Clone, Debug)]
pub struct Sweeper {
    sandbox: Containers,
    removed: Arc<AtomicU64>,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers.
    pub containers: usize,
    /// Slot directories.
    pub directories: usize,
}

impl Sweeper {
    /// A sweeper for this sandbox's worker.
    #[must_use]
    pub fn new(sandbox: Containers) -> Self {
        Self { sandbox, removed: Arc::default() }
    }

    /// Containers that it and its clones have removed so far. Each had leaked.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    /// Sweeps until dropped.
    pub async fn run(&self) {
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            let swept = self.sweep().await;
            if swept != Swept::default() {
                tracing::info!(
                    containers = swept.containers,
                    directories = swept.directories,
                    "removed leftovers"
                );
            }
        }
    }

    /// Sweeps once.
    pub async fn sweep(&self) -> Swept {
        Swept { containers: self.containers().await, directories: self.directories() }
    }

    async fn containers(&self) -> usize {
        let label = format!("{LABEL_CLUSTER}={}", self.sandbox.owner().cluster);
        let listed = match list(self.sandbox.docker(), vec![label]).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "containers cannot be listed");
                return 0;
            }
        };
        let mut removed = 0;
        for container in listed.iter().filter(|container| self.is_leftover(container)) {
            if let Some(id) = &container.id {
                if remove_container(self.sandbox.docker(), id).await == Removal::NotThere {
                    continue;
                }
                removed += 1;
                self.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        removed
    }

    fn is_leftover(&self, container: &ContainerSummary) -> bool {
        let owner = self.sandbox.owner();
        let label = |name: &str| container.labels.as_ref().and_then(|labels| labels.get(name));
        if label(LABEL_WORKER) != Some(&owner.worker) {
            return container.state == Some(ContainerSummaryStateEnum::CREATED)
                && container.created.is_some_and(|at| unix_now() - at > NEVER_STARTED_AFTER_S);
        }
        if label(LABEL_EPOCH) != Some(&owner.epoch.to_string()) {
            return true;
        }
        // Slots enter the list before their container exists, so an unknown one is nobody's.
        !label(LABEL_SLOT)
            .and_then(|slot| slot.parse::<SlotId>().ok())
            .is_some_and(|slot| self.sandbox.knows(slot))
    }

    fn directories(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(self.sandbox.root()) else { return 0 };
        let unknown = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let slot = name.to_str().and_then(|name| name.parse::<SlotId>().ok());
            slot.is_some_and(|slot| !self.sandbox.knows(slot))
        });
        unknown.filter(|entry| std::fs::remove_dir_all(entry.path()).is_ok()).count()
    }
}

/// All containers, running or not, that have every one of these labels.
pub(crate) async fn list(
    docker: &Docker,
    labels: Vec<String>,
) -> Result<Vec<ContainerSummary>, bollard::errors::Error> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), labels)])),
        ..ListContainersOptions::default()
    };
    docker.list_containers(Some(options)).await
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
