//! The container's control group, read and nudged directly where the host shows it.
//!
//! Docker's own `OOMKilled` flag misses kills of any process but the first, so the kernel's
//! counter is read instead. Everything here is best effort: `None` means "cannot be seen".

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Linux mounts the hierarchies.
const MOUNT: &str = "/sys/fs/cgroup";

/// A container's control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// One directory per controller.
    V1 {
        /// Of the memory controller.
        memory: PathBuf,
        /// Of the processor controller.
        cpu: PathBuf,
        /// Of the controller that counts processor time, where there is one.
        cpuacct: Option<PathBuf>,
        /// Of the controller that counts processes, where there is one.
        pids: Option<PathBuf>,
    },
    /// One directory.
    V2 {
        /// That directory.
        path: PathBuf,
    },
}

impl Cgroup {
    /// The group of a process of this host; `None` when it or the hierarchy cannot be seen.
    pub(crate) fn of(pid: i64) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let found = Self::parse(&text, Path::new(MOUNT))?;
        found.memory_dir().join(found.oom_file()).is_file().then_some(found)
    }

    /// Reads `/proc/<pid>/cgroup`. A root group or one outside of our view is no container's.
    fn parse(text: &str, mount: &Path) -> Option<Self> {
        let (mut memory, mut cpu, mut unified) = (None, None, None);
        let (mut cpuacct, mut pids) = (None, None);
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let relative = path.strip_prefix('/')?;
            if relative.is_empty() || relative.split('/').any(|part| part == "..") {
                continue;
            }
            if controllers.is_empty() {
                unified = Some(mount.join(relative));
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => memory = Some(mount.join("memory").join(relative)),
                    "cpu" => cpu = Some(mount.join("cpu").join(relative)),
                    "cpuacct" => cpuacct = Some(mount.join("cpuacct").join(relative)),
                    "pids" => pids = Some(mount.join("pids").join(relative)),
                    _ => {}
                }
            }
        }
        match (memory, cpu, unified) {
            (Some(memory), Some(cpu), _) => Some(Self::V1 { memory, cpu, cpuacct, pids }),
            (None, None, Some(path)) => Some(Self::V2 { path }),
            _ => None,
        }
    }

    fn memory_dir(&self) -> &Path {
        match self {
            Self::V1 { memory, .. } => memory,
            Self::V2 { path } => path,
        }
    }

    fn oom_file(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "memory.oom_control",
            Self::V2 { .. } => "memory.events",
        }
    }

    /// How many processes the kernel killed here for memory.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.memory_dir().join(self.oom_file())).ok()?;
        counter("oom_kill", &text)
    }

    /// Highest memory use, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        let file = match self {
            Self::V1 { .. } => "memory.max_usage_in_bytes",
            Self::V2 { .. } => "memory.peak",
        };
        std::fs::read_to_string(self.memory_dir().join(file)).ok()?.trim().parse().ok()
    }

    /// Processor time of all its processes since it was made, ended ones included.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        match self {
            Self::V1 { cpuacct, .. } => {
                let text = std::fs::read_to_string(cpuacct.as_ref()?.join("cpuacct.usage")).ok()?;
                text.trim().parse().ok().map(Duration::from_nanos)
            }
            Self::V2 { path } => {
                let text = std::fs::read_to_string(path.join("cpu.stat")).ok()?;
                counter("usage_usec", &text).map(Duration::from_micros)
            }
        }
    }

    /// How often the kernel refused a new process or thread because of the group's limit.
    pub(crate) fn forks_refused(&self) -> Option<u64> {
        let directory = match self {
            Self::V1 { pids, .. } => pids.as_ref()?,
            Self::V2 { path } => path,
        };
        counter("max", &std::fs::read_to_string(directory.join("pids.events")).ok()?)
    }

    /// Sets the share of the processor against other groups, given in the engine's `CpuShares`.
    pub(crate) fn set_cpu_shares(&self, shares: u64) -> bool {
        let (file, value) = match self {
            Self::V1 { cpu, .. } => (cpu.join("cpu.shares"), shares),
            Self::V2 { path } => (path.join("cpu.weight"), weight_of(shares)),
        };
        std::fs::write(file, value.to_string()).is_ok()
    }
}

/// The value of one line of a file of names and numbers.
fn counter(name: &str, text: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// The OCI runtimes' conversion of shares (2…262144) to weight (1…10000).
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Cgroup> {
        Cgroup::parse(text, Path::new("/c"))
    }

    #[test]
    fn both_versions_are_found() {
        let v1 = "6:pids:/docker/abc\n5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n\
                  1:name=systemd:/x\n0::/init\n";
        assert_eq!(
            parse(v1),
            Some(Cgroup::V1 {
                memory: "/c/memory/docker/abc".into(),
                cpu: "/c/cpu/docker/abc".into(),
                cpuacct: Some("/c/cpuacct/docker/abc".into()),
                pids: Some("/c/pids/docker/abc".into()),
            })
        );
        let v2 = "0::/system.slice/docker-abc.scope\n";
        assert_eq!(parse(v2), Some(Cgroup::V2 { path: "/c/system.slice/docker-abc.scope".into() }));
    }

    #[test]
    fn what_is_out_of_sight_is_not_guessed() {
        assert_eq!(parse("0::/\n"), None);
        assert_eq!(parse("0::/../docker/abc\n"), None);
        assert_eq!(parse("garbage"), None);
        assert_eq!(parse("5:memory:/\n4:cpu:/docker/abc\n"), None);
    }

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
