//! What a cell's control group counts, read and nudged directly.
//!
//! Docker's own `OOMKilled` flag misses kills of any process but the first, so the kernel's
//! counter is read instead. Everything here is best effort: `None` means "cannot be seen".

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zygote::cgroups::{Cgroups, weight_of};
use zygote::group_files::{GroupFile, GroupFiles};

/// Where Linux mounts the hierarchies.
const MOUNT: &str = "/sys/fs/cgroup";
/// More than any of the files holds.
const FILE_BYTES_MAX: usize = 4_096;

/// A cell's control group. Files of a group that is gone cannot be read any more.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup(Arc<GroupFiles>);

impl Cgroup {
    /// Of files that a zygote has opened.
    pub(crate) fn new(files: GroupFiles) -> Self {
        Self(Arc::new(files))
    }

    /// The group of a process of this host; `None` when it or the hierarchy cannot be seen.
    pub(crate) fn of(pid: i64) -> Option<Self> {
        let membership = Cgroups::of(&pid.to_string()).ok()?;
        let files = GroupFiles::open(&Cgroups::find(Path::new(MOUNT)).ok()?, &membership);
        (files.present() != 0).then(|| Self::new(files))
    }

    /// What a file says now.
    fn read(&self, kind: GroupFile) -> Option<String> {
        let mut bytes = [0; FILE_BYTES_MAX];
        let length = self.0.file(kind)?.read_at(&mut bytes, 0).ok()?;
        String::from_utf8(bytes.get(..length)?.to_vec()).ok()
    }

    /// How many processes the kernel killed here for memory.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        counter("oom_kill", &self.read(GroupFile::OutOfMemory)?)
    }

    /// Highest memory use, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        self.read(GroupFile::MemoryPeak)?.trim().parse().ok()
    }

    /// Processor time of all its processes since it was made, ended ones included.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let text = self.read(GroupFile::CpuTime)?;
        if self.0.is_unified {
            counter("usage_usec", &text).map(Duration::from_micros)
        } else {
            text.trim().parse().ok().map(Duration::from_nanos)
        }
    }

    /// How often the kernel refused a new process or thread because of the group's limit.
    pub(crate) fn forks_refused(&self) -> Option<u64> {
        counter("max", &self.read(GroupFile::ForksRefused)?)
    }

    /// Sets the share of the processor against other groups, given in the engine's `CpuShares`.
    pub(crate) fn set_cpu_shares(&self, shares: u64) -> bool {
        let value = if self.0.is_unified { weight_of(shares) } else { shares };
        let write =
            |mut file: &File| std::io::Write::write_all(&mut file, value.to_string().as_bytes());
        self.0.file(GroupFile::CpuWeight).is_some_and(|file| write(file).is_ok())
    }
}

/// The value of one line of a file of names and numbers.
fn counter(name: &str, text: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counter_is_read_in_both_forms() {
        let oom_kills = |text| counter("oom_kill", text);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(
            oom_kills("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"),
            Some(1)
        );
        assert_eq!(oom_kills("oom_kill_disable 0\n"), None);
        assert_eq!(counter("max", "max 3\n"), Some(3));
        assert_eq!(counter("usage_usec", "usage_usec 12\nuser_usec 5\n"), Some(12));
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!((weight_of(2), weight_of(1024), weight_of(262_144)), (1, 39, 10_000));
        assert_eq!(weight_of(0), 1);
    }
}
