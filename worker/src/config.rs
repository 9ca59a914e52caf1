//! What an operator can set on a worker. Each field's comment is its entry in the manual.

use std::path::PathBuf;
use std::time::Duration;

use domain::limits::CellLimits;
use serde::{Deserialize, Serialize};

use crate::egress::Network;

/// Longest path of a Unix socket, without its final zero (`sockaddr_un`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// `/<worker name>/<16 characters>/egress.sock` below the socket directory.
const SOCKET_NAME_BYTES: usize = 1 + 16 + 1 + "egress.sock".len() + 1;

/// Settings of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A name for people, unique in the cluster: the sweeper removes containers of an earlier
    /// process of the same name. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The cluster that containers are labelled with, so that two clusters may share an engine.
    pub cluster: String,
    /// The queue that tasks are taken from: 1 to 48 letters, digits and `-`.
    pub queue: String,
    /// How many cells run at once.
    pub slots: u32,
    /// The engine: a `unix://` URL.
    pub docker_host: String,
    /// OCI runtime that starts the containers, as the engine knows it (`crun`); the engine's
    /// default when absent.
    pub oci_runtime: Option<String>,
    /// A directory on this host for the sockets of the cells. Only this user may enter it.
    pub socket_dir: PathBuf,
    /// How cells are made.
    pub sandbox: SandboxConfig,
    /// The pool of waiting containers.
    pub pool: PoolConfig,
    /// The limits that a waiting container is made with; a task with other limits costs an
    /// update of its container (tens of milliseconds) before it starts.
    pub limits: CellLimits,
    /// The most that a task may ask for; more is lowered to this.
    pub caps: CellLimits,
    /// The way out of the cells.
    pub egress: EgressConfig,
}

/// How cells are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `zygote` where this host and the image allow it, otherwise `warm`.
    Auto,
    /// A container whose runner imports everything itself: for images with a tenant's packages.
    Warm,
    /// A container that a child of an imported, tenant-neutral process enters.
    Zygote,
    /// As `zygote`, but the cell is made of namespaces and control groups by a launcher of ours,
    /// not by the engine: a third of the processor time per cell, and no cell in `docker ps`. For hosts that do nothing else; never chosen by `auto`.
    Native,
}

/// Settings of the backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// How cells are made, unless their image says otherwise.
    pub backend: Backend,
    /// Zygotes per image; 0 means one per processor. A fork takes 5 to 10 ms of one.
    pub zygotes: u32,
    /// After this many forks a zygote is replaced: its children share a memory layout and a hash
    /// seed.
    pub zygote_forks_max: u32,
    /// After this many seconds a zygote is replaced.
    pub zygote_age_s_max: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            zygotes: 0,
            zygote_forks_max: 5_000,
            zygote_age_s_max: 3_600,
        }
    }
}

impl SandboxConfig {
    /// [`Self::zygotes`], or the number that fits this machine.
    #[must_use]
    pub fn zygotes(&self) -> usize {
        match usize::try_from(self.zygotes) {
            Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
            Ok(count) => count,
        }
    }
}

/// Settings of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Images to keep containers ready for. Other images are started on demand.
    pub images: Vec<PoolImage>,
    /// How many containers may be starting at once; 0 means one and a half per processor.
    pub refill_concurrency: u32,
    /// Memory that all containers together may be promised, in bytes; 0 means no limit beyond
    /// `slots` plus the pools.
    pub memory_bytes_max: u64,
    /// How long a runner may take to import everything and report ready, in milliseconds.
    pub ready_ms_max: u64,
    /// How long a task may wait for a container before its start has failed, in milliseconds.
    pub take_ms_max: u64,
    /// A container that has waited this long is replaced, in seconds.
    pub idle_s_max: u64,
}

/// One image of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolImage {
    /// The image, as a task names it.
    pub image: String,
    /// How many containers wait.
    pub size: u32,
    /// How its cells are made, if not as `worker.sandbox.backend` says. An image with packages of
    /// a tenant must say `warm`: importing them runs the tenant's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
}

/// Settings of the egress proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// Networks that no rule opens, not even one that says `private`: the control plane.
    pub deny: Vec<Network>,
    /// Connections that one cell may have at once.
    pub connections_max: u32,
    /// Bytes that one cell may move, both ways together.
    pub bytes_max: u64,
    /// How long name resolution and connecting may take, in milliseconds.
    pub connect_ms_max: u64,
    /// How long a connection may be silent, in milliseconds.
    pub idle_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "worker".into(),
            cluster: "flowcell".into(),
            queue: "default".into(),
            slots: 8,
            docker_host: "unix:///var/run/docker.sock".into(),
            oci_runtime: None,
            socket_dir: PathBuf::from("/run/flowcell"),
            sandbox: SandboxConfig::default(),
            pool: PoolConfig::default(),
            limits: CellLimits::default(),
            caps: CellLimits {
                memory_bytes: 16 * 1024 * 1024 * 1024,
                pids: 4_096,
                cpu_millis: 16_000,
                wall_ms: 24 * 60 * 60 * 1_000,
                output_bytes_max: 1024 * 1024 * 1024,
                frames_max: 10_000_000,
                log_bytes_max: 64 * 1024 * 1024,
                tmpfs_bytes: 4 * 1024 * 1024 * 1024,
            },
            egress: EgressConfig::default(),
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            images: vec![PoolImage {
                image: "flowcell/runner:lfx-1.13".into(),
                size: 4,
                backend: None,
            }],
            refill_concurrency: 0,
            memory_bytes_max: 0,
            ready_ms_max: 120_000,
            take_ms_max: 120_000,
            idle_s_max: 600,
        }
    }
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            deny: Vec::new(),
            connections_max: 32,
            bytes_max: 1024 * 1024 * 1024,
            connect_ms_max: 10_000,
            idle_ms_max: 300_000,
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that labels or paths cannot carry.
    #[error(
        "worker.{field} is {value:?}: use 1 to 40 letters, digits, `-`, `_` or `.`, not `.` or `..`"
    )]
    Name {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A number that must not be zero.
    #[error("worker.{field} must be at least 1")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// The engine is not on a Unix socket of this host.
    #[error("worker.docker_host is {0:?}: only unix:// works, cells are reached through sockets")]
    DockerHost(String),
    /// Sockets below the directory would have too long a path.
    #[error("worker.socket_dir is too long: at most {max} bytes, it has {length}")]
    SocketDir {
        /// Its length in bytes.
        length: usize,
        /// The longest possible.
        max: usize,
    },
    /// The default limits are over the caps.
    #[error("worker.limits.{field} is over worker.caps.{field}")]
    OverCap {
        /// The limit.
        field: &'static str,
    },
}

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        check_name("name", &self.name)?;
        check_name("cluster", &self.cluster)?;
        let numbers = [
            ("slots", u64::from(self.slots)),
            ("pool.ready_ms_max", self.pool.ready_ms_max),
            ("pool.take_ms_max", self.pool.take_ms_max),
            ("pool.idle_s_max", self.pool.idle_s_max),
            ("limits.memory_bytes", self.limits.memory_bytes),
            ("limits.cpu_millis", u64::from(self.limits.cpu_millis)),
            ("limits.pids", u64::from(self.limits.pids)),
            ("limits.tmpfs_bytes", self.limits.tmpfs_bytes),
            ("egress.connections_max", u64::from(self.egress.connections_max)),
        ];
        if let Some((field, _)) = numbers.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::Zero { field });
        }
        if !self.docker_host.starts_with("unix://") {
            return Err(Error::DockerHost(self.docker_host.clone()));
        }
        let length = self.socket_dir.as_os_str().len();
        let max = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES - self.name.len();
        if length > max {
            return Err(Error::SocketDir { length, max });
        }
        self.check_caps()
    }

    fn check_caps(&self) -> Result<(), Error> {
        let (limits, caps) = (&self.limits, &self.caps);
        let over = [
            ("memory_bytes", limits.memory_bytes > caps.memory_bytes),
            ("pids", limits.pids > caps.pids),
            ("cpu_millis", limits.cpu_millis > caps.cpu_millis),
            ("tmpfs_bytes", limits.tmpfs_bytes > caps.tmpfs_bytes),
        ];
        match over.into_iter().find(|(_, over)| *over) {
            Some((field, _)) => Err(Error::OverCap { field }),
            None => Ok(()),
        }
    }

    /// The directory of this worker's sockets.
    #[must_use]
    pub fn slot_root(&self) -> PathBuf {
        self.socket_dir.join(&self.name)
    }

    /// How many containers may exist at once: running, waiting and starting.
    #[must_use]
    pub fn containers_max(&self) -> u32 {
        let pools: u32 =
            self.pool.images.iter().fold(0, |sum, image| sum.saturating_add(image.size));
        let wanted = self.slots.saturating_add(pools);
        let affordable = self
            .pool
            .memory_bytes_max
            .checked_div(self.limits.memory_bytes)
            .filter(|_| self.pool.memory_bytes_max > 0)
            .map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX));
        wanted.min(affordable).max(1)
    }
}

impl PoolConfig {
    /// [`Self::refill_concurrency`], or the number that fits this machine.
    #[must_use]
    pub fn refill(&self) -> u32 {
        if self.refill_concurrency > 0 {
            return self.refill_concurrency;
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(processors.saturating_mul(3).div_ceil(2)).unwrap_or(1)
    }

    /// [`Self::ready_ms_max`] as a span.
    #[must_use]
    pub fn ready_max(&self) -> Duration {
        Duration::from_millis(self.ready_ms_max)
    }

    /// [`Self::take_ms_max`] as a span.
    #[must_use]
    pub fn take_max(&self) -> Duration {
        Duration::from_millis(self.take_ms_max)
    }
}

fn check_name(field: &'static str, value: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || value.len() > 40 || !value.chars().all(allowed) || value.starts_with('.')
    {
        return Err(Error::Name { field, value: value.into() });
    }
    Ok(())
}

/// What a task asks for, lowered to what this worker gives.
#[must_use]
pub fn capped(asked: &CellLimits, caps: &CellLimits) -> CellLimits {
    CellLimits {
        memory_bytes: asked.memory_bytes.min(caps.memory_bytes),
        pids: asked.pids.min(caps.pids),
        cpu_millis: asked.cpu_millis.min(caps.cpu_millis),
        wall_ms: asked.wall_ms.min(caps.wall_ms),
        output_bytes_max: asked.output_bytes_max.min(caps.output_bytes_max),
        frames_max: asked.frames_max.min(caps.frames_max),
        log_bytes_max: asked.log_bytes_max.min(caps.log_bytes_max),
        tmpfs_bytes: asked.tmpfs_bytes.min(caps.tmpfs_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_unknown_keys_are_refused() {
        Config::default().validate().unwrap();
        let error = serde_json::from_str::<Config>(r#"{"slot": 3}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `slot`"), "{error}");
        let error = serde_json::from_str::<Config>(r#"{"pool": {"imags": []}}"#).unwrap_err();
        assert!(error.to_string().contains("imags"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_named() {
        let wrong = Config { name: "../x".into(), ..Config::default() };
        assert!(matches!(wrong.validate(), Err(Error::Name { field: "name", .. })));
        let wrong = Config { slots: 0, ..Config::default() };
        assert_eq!(wrong.validate(), Err(Error::Zero { field: "slots" }));
        let wrong = Config { docker_host: "tcp://x:1".into(), ..Config::default() };
        assert!(matches!(wrong.validate(), Err(Error::DockerHost(_))));
        let wrong = Config { socket_dir: "/x".repeat(60).into(), ..Config::default() };
        assert!(matches!(wrong.validate(), Err(Error::SocketDir { .. })));
        let mut wrong = Config::default();
        wrong.caps.memory_bytes = 1;
        assert_eq!(wrong.validate(), Err(Error::OverCap { field: "memory_bytes" }));
    }

    #[test]
    fn memory_bounds_the_number_of_containers() {
        let mut config = Config { slots: 10, ..Config::default() };
        assert_eq!(config.containers_max(), 14);
        config.pool.memory_bytes_max = 3 * config.limits.memory_bytes + 1;
        assert_eq!(config.containers_max(), 3);
        config.pool.memory_bytes_max = 1;
        assert_eq!(config.containers_max(), 1);
    }
}
