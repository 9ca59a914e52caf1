//! What an operator can set on a worker. Each field's comment is its entry in the manual.

use std::path::PathBuf;
use std::time::Duration;

use domain::limits::{CellLimits, FLOW_DEPTH_MAX, Setting, over_default, over_most};
use serde::{Deserialize, Serialize};
use service::trace::Tracer;

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
    /// How many cells run at once. For flows that flows run there are as many again, and one more
    /// for each further depth: a cell that waits for a flow uses no processor.
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
    #[serde(deserialize_with = "over_default")]
    pub limits: CellLimits,
    /// The most that a task may ask for; more is lowered to this.
    #[serde(deserialize_with = "over_most")]
    pub caps: CellLimits,
    /// The way out of the cells.
    pub egress: egress::Config,
    /// Images with packages that flows list.
    pub runtimes: RuntimesConfig,
    /// Where spans of attempts go.
    #[serde(skip)]
    pub tracer: Tracer,
}

/// Settings of images with packages that flows list. Without an index or a folder of wheels none
/// can be built here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimesConfig {
    /// The package index: the URL of its simple API.
    pub index: Option<String>,
    /// Where its files are, when not on the same host: `host:port`.
    pub hosts: Vec<String>,
    /// Whether these names may resolve to addresses of the inside: an index of one's own.
    pub private: bool,
    /// Certificates of authorities to trust instead of the public ones (PEM).
    pub ca_file: Option<PathBuf>,
    /// A folder of wheels on this host, looked at beside the index or instead of it.
    pub wheels: Option<PathBuf>,
    /// Whether packages without a wheel may be built. That runs their code, in the container of
    /// the build.
    pub source_builds: bool,
    /// How long one step of a build may take, in seconds.
    pub build_s_max: u64,
    /// Memory of a build, in bytes. What it writes counts, before it is stored.
    pub memory_bytes: u64,
    /// Processor time of a build, in thousandths of a processor.
    pub cpu_millis: u32,
    /// Size of the packages of one image, in bytes.
    pub disk_bytes: u64,
    /// Images that are kept. Of more, those that were not used for the longest time are removed.
    pub images_max: u32,
}

impl Default for RuntimesConfig {
    fn default() -> Self {
        Self {
            index: None,
            hosts: Vec::new(),
            private: false,
            ca_file: None,
            wheels: None,
            source_builds: false,
            build_s_max: 600,
            memory_bytes: 2 * 1024 * 1024 * 1024,
            cpu_millis: 1_000,
            disk_bytes: 512 * 1024 * 1024,
            images_max: 16,
        }
    }
}

impl RuntimesConfig {
    /// Hosts and ports that a build may connect to.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = (String, u16)> {
        let index = self.index.as_deref().and_then(index_address);
        index.into_iter().chain(self.hosts.iter().filter_map(|text| address(text)))
    }

    /// What a build may write before it is stored: packages, and the files they come in.
    pub(crate) fn work_bytes(&self) -> u64 {
        self.disk_bytes.saturating_mul(2).min(self.memory_bytes)
    }
}

fn index_address(url: &str) -> Option<(String, u16)> {
    let url: http::Uri = url.parse().ok()?;
    let default_port = match url.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return None,
    };
    Some((url.host()?.to_owned(), url.port_u16().unwrap_or(default_port)))
}

fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok().filter(|_| !host.is_empty())?))
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
    /// Images to keep containers ready for.
    pub images: Vec<PoolImage>,
    /// How many containers of anything else (other images, other sizes of `/tmp`) wait at most,
    /// all together, for as long as tasks ask for such; 0: each is started for its task.
    pub passing_max: u32,
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
    /// How many containers wait at least.
    pub size: u32,
    /// How many wait at most: in between, as many as arrive while one is made, twice.
    #[serde(default = "size_max")]
    pub size_max: u32,
    /// How its cells are made, if not as `worker.sandbox.backend` says. An image with packages of
    /// a tenant must say `warm`: importing them runs the tenant's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
}

/// Room for 30 tasks a second with zygotes, of which each container waits for a few milliseconds.
fn size_max() -> u32 {
    32
}

impl PoolImage {
    /// This many containers wait, whatever arrives.
    #[must_use]
    pub fn fixed(image: impl Into<String>, size: u32) -> Self {
        Self { image: image.into(), size, size_max: size, backend: None }
    }

    /// How many containers wait at most.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.size_max.max(self.size)
    }
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
            caps: CellLimits::most(),
            egress: egress::Config::default(),
            runtimes: RuntimesConfig::default(),
            tracer: Tracer::default(),
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            images: vec![PoolImage {
                size_max: size_max(),
                ..PoolImage::fixed("flowcell/runner:lfx-1.13", 4)
            }],
            passing_max: 4,
            refill_concurrency: 0,
            memory_bytes_max: 0,
            ready_ms_max: 120_000,
            take_ms_max: 120_000,
            idle_s_max: 600,
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
    /// A service to close that is none.
    #[error("worker.egress.deny_endpoints has {0:?}: write host:port")]
    Endpoint(String),
    /// Not an index.
    #[error("worker.runtimes.index is {0:?}: write an http:// or https:// URL")]
    Index(String),
    /// Not a host with files of one.
    #[error("worker.runtimes.hosts has {0:?}: write host:port")]
    IndexHost(String),
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
            ("limits.open_files", u64::from(self.limits.open_files)),
            ("runtimes.build_s_max", self.runtimes.build_s_max),
            ("runtimes.memory_bytes", self.runtimes.memory_bytes),
            ("runtimes.cpu_millis", u64::from(self.runtimes.cpu_millis)),
            ("runtimes.disk_bytes", self.runtimes.disk_bytes),
            ("runtimes.images_max", u64::from(self.runtimes.images_max)),
            ("caps.wall_ms", self.caps.wall_ms),
            ("caps.cpu_ms", self.caps.cpu_ms),
            ("caps.tokens_max", self.caps.tokens_max),
            ("caps.frames_max", self.caps.frames_max),
            ("egress.connections_max", u64::from(self.egress.connections_max)),
            ("egress.connections_per_s_max", u64::from(self.egress.connections_per_s_max)),
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
        if let Some(wrong) = self.egress.wrong_endpoint() {
            return Err(Error::Endpoint(wrong.to_owned()));
        }
        self.check_runtimes()?;
        self.check_caps()
    }

    fn check_runtimes(&self) -> Result<(), Error> {
        let RuntimesConfig { index, hosts, .. } = &self.runtimes;
        if let Some(index) = index.as_ref().filter(|index| index_address(index).is_none()) {
            return Err(Error::Index(index.clone()));
        }
        match hosts.iter().find(|text| address(text).is_none()) {
            Some(wrong) => Err(Error::IndexHost(wrong.clone())),
            None => Ok(()),
        }
    }

    fn check_caps(&self) -> Result<(), Error> {
        // What a waiting container is made with; the rest is looked at when there is a task.
        let made_with = [
            Setting::MemoryBytes,
            Setting::Pids,
            Setting::CpuMillis,
            Setting::TmpfsBytes,
            Setting::OpenFiles,
        ];
        let over = |setting: &Setting| setting.of(&self.limits) > setting.of(&self.caps);
        match made_with.into_iter().find(over) {
            Some(setting) => Err(Error::OverCap { field: setting.name() }),
            None => Ok(()),
        }
    }

    /// The directory of this worker's sockets.
    #[must_use]
    pub fn slot_root(&self) -> PathBuf {
        self.socket_dir.join(&self.name)
    }

    /// What a task asks for, lowered to what this worker gives.
    #[must_use]
    pub fn granted(&self, asked: &CellLimits) -> CellLimits {
        let mut granted = asked.capped(&self.caps);
        // Nothing raises it in a container that exists.
        granted.open_files = granted.open_files.min(self.limits.open_files);
        granted
    }

    /// How many containers the pool's memory affords at once.
    fn affordable(&self) -> u32 {
        self.pool
            .memory_bytes_max
            .checked_div(self.limits.memory_bytes)
            .filter(|_| self.pool.memory_bytes_max > 0)
            .map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX))
            .max(1)
    }

    /// How many cells run at once, by the depth of their runs: a flow that a flow runs is one
    /// deeper. Each depth has slots of its own, whose containers the others cannot take: a cell
    /// that waits for a flow keeps its slot, and would keep out what it waits for. A worker that
    /// affords few containers serves fewer depths.
    #[must_use]
    pub fn slots_by_depth(&self) -> Vec<u32> {
        let affordable = self.affordable();
        let depths = (affordable / 2).clamp(1, FLOW_DEPTH_MAX + 1);
        let mut left = affordable;
        let slots = (1..=depths).map(|lane| {
            let wanted = if lane <= 2 { self.slots } else { 1 };
            let slots = wanted.min(left.saturating_sub(depths - lane)).max(1);
            left = left.saturating_sub(slots);
            slots
        });
        slots.collect()
    }

    /// How many containers may exist at once: running, waiting and starting.
    #[must_use]
    pub fn containers_max(&self) -> u32 {
        let pools: u32 =
            self.pool.images.iter().fold(0, |sum, image| sum.saturating_add(image.most()));
        let pools = pools.saturating_add(self.pool.passing_max);
        let wanted = self.slots_by_depth().into_iter().fold(pools, u32::saturating_add);
        wanted.min(self.affordable())
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
        let some = r#"{"limits": {"pids": 9}, "caps": {"pids": 10}}"#;
        let config: Config = serde_json::from_str(some).unwrap();
        assert_eq!((config.limits.pids, config.limits.cpu_millis), (9, 2_000));
        assert_eq!((config.caps.pids, config.caps.cpu_millis), (10, 16_000));
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
        wrong.egress.deny_endpoints = vec!["nats".into()];
        assert_eq!(wrong.validate(), Err(Error::Endpoint("nats".into())));
        let mut wrong = Config::default();
        wrong.caps.memory_bytes = 1;
        assert_eq!(wrong.validate(), Err(Error::OverCap { field: "memory_bytes" }));
        let mut wrong = Config::default();
        wrong.caps.open_files = 100;
        assert_eq!(wrong.validate(), Err(Error::OverCap { field: "open_files" }));
        let mut wrong = Config::default();
        wrong.caps.cpu_ms = 0;
        assert_eq!(wrong.validate(), Err(Error::Zero { field: "caps.cpu_ms" }));
    }

    #[test]
    fn a_task_gets_what_it_asks_for_as_far_as_the_worker_gives_it() {
        let mut config = Config::default();
        config.caps.cpu_ms = 1_000;
        let asked = CellLimits {
            cpu_ms: 2_000,
            tokens_max: 7,
            open_files: 60_000,
            ..CellLimits::default()
        };
        let granted = config.granted(&asked);
        assert_eq!((granted.cpu_ms, granted.tokens_max, granted.open_files), (1_000, 7, 4_096));
    }

    #[test]
    fn memory_bounds_the_number_of_containers() {
        let mut config = Config { slots: 10, ..Config::default() };
        assert_eq!(config.containers_max(), 32 + 4 + 10 + 10 + 7);
        config.pool.memory_bytes_max = 3 * config.limits.memory_bytes + 1;
        assert_eq!(config.containers_max(), 3);
        config.pool.memory_bytes_max = 1;
        assert_eq!(config.containers_max(), 1);
    }

    #[test]
    fn every_depth_has_slots_that_no_other_can_take() {
        let mut config = Config { slots: 4, ..Config::default() };
        assert_eq!(config.slots_by_depth(), [4, 4, 1, 1, 1, 1, 1, 1, 1]);
        for affordable in 1..40 {
            config.pool.memory_bytes_max = affordable * config.limits.memory_bytes;
            let slots = config.slots_by_depth();
            assert!(slots.iter().all(|slots| *slots > 0), "{affordable}: {slots:?}");
            let sum: u32 = slots.iter().sum();
            assert!(u64::from(sum) <= affordable, "{affordable}: {slots:?}");
        }
        config.pool.memory_bytes_max = 8 * config.limits.memory_bytes;
        assert_eq!(config.slots_by_depth(), [4, 2, 1, 1]);
    }
}
