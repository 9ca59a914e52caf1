//! What the processes of a cell have used since they had the task, by the kernel's count.

use std::time::Duration;

use domain::limits::CellLimits;

use crate::sandbox::cgroup::Cgroup;

/// The processor time is looked at no more often than this; by so much, times the processors, a
/// cell may be over its limit.
const LOOK_LEAST: Duration = Duration::from_millis(50);
/// And no less often, in case the share of the processors is not what was asked for.
const LOOK_MOST: Duration = Duration::from_secs(5);

/// The counts, and what they were before the task: importing is not the tenant's doing.
#[derive(Debug)]
pub(super) struct Spent {
    cgroup: Option<Cgroup>,
    cpu_before: Option<Duration>,
    refused_before: Option<u64>,
    kills_before: Option<u64>,
}

/// What went wrong inside a cell without anybody telling. `None`: it cannot be seen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strain {
    /// Whether the kernel refused it a process or thread.
    pub(super) forks_refused: Option<bool>,
    /// Whether the kernel killed one of its processes for memory.
    pub(super) out_of_memory: Option<bool>,
}

impl Spent {
    /// Begins to count.
    pub(super) fn begin(cgroup: Option<Cgroup>) -> Self {
        let group = cgroup.as_ref();
        Self {
            cpu_before: group.and_then(Cgroup::cpu_time),
            refused_before: group.and_then(Cgroup::forks_refused),
            kills_before: group.and_then(Cgroup::oom_kills),
            cgroup,
        }
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.cgroup.as_ref()?.cpu_time()?.checked_sub(self.cpu_before?)
    }

    /// What happened so far. To be asked before the engine notices the end of the container: it
    /// removes the group.
    pub(super) fn strain(&self) -> Strain {
        let group = self.cgroup.as_ref();
        let rose = |now: Option<u64>, before: Option<u64>| Some(now? > before?);
        Strain {
            forks_refused: rose(group.and_then(Cgroup::forks_refused), self.refused_before),
            out_of_memory: rose(group.and_then(Cgroup::oom_kills), self.kills_before),
        }
    }

    /// Returns once the processor time is over its limit; never, where it cannot be seen.
    pub(super) async fn cpu_over(&self, limits: &CellLimits) {
        let limit = Duration::from_millis(limits.cpu_ms);
        while let Some(used) = self.cpu() {
            if used > limit {
                return;
            }
            tokio::time::sleep(next_look(limit.saturating_sub(used), limits.cpu_millis)).await;
        }
        std::future::pending().await
    }
}

/// How long it takes at least until so much processor time is used up.
fn next_look(left: Duration, cpu_millis: u32) -> Duration {
    let soonest = left.saturating_mul(1_000) / cpu_millis.max(1);
    soonest.clamp(LOOK_LEAST, LOOK_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_when_the_limit_could_be_reached() {
        let look =
            |left_ms, cpu_millis| next_look(Duration::from_millis(left_ms), cpu_millis).as_millis();
        assert_eq!(look(2_000, 2_000), 1_000);
        assert_eq!(look(2_000, 500), 4_000);
        assert_eq!(look(600_000, 2_000), 5_000);
        assert_eq!(look(1, 1_000), 50);
        assert_eq!(look(1, 0), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_seen_is_not_guessed() {
        let spent = Spent::begin(None);
        assert_eq!((spent.cpu(), spent.strain()), (None, Strain::default()));
        let limits = CellLimits::default();
        let over = tokio::time::timeout(Duration::from_secs(3_600), spent.cpu_over(&limits));
        assert!(over.await.is_err());
    }
}
