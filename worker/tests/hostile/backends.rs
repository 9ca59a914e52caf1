//! The ways to run a cell that this host offers. **A new backend is added in [`WAYS`].**

use std::path::Path;
use std::sync::Arc;

use domain::id::WorkerEpoch;
use domain::limits::CellLimits;
use flowcell_worker::config::{Backend as Way, Config, PoolImage};
use flowcell_worker::sandbox::Sandbox;
use flowcell_worker::sandbox::containers::Containers;
use uuid::Uuid;

use crate::IMAGE;

/// Open files of a cell, as every backend sets them.
pub(crate) const OPEN_FILES_MAX: u64 = 4_096;
/// Size of `/dev/shm`, as every backend sets it.
pub(crate) const SHM_BYTES: u64 = 8 << 20;

/// One way to run cells.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    /// Makes a worker use it; the probes that are judged by how an attempt ended have a worker.
    pub(crate) configure: fn(&mut Config),
    /// How many probes share a cell. One, where a cell costs milliseconds.
    pub(crate) batch: usize,
    /// How many cells run at once.
    pub(crate) at_once: usize,
    /// Whether cells have the narrow system call filter, or only the engine's default one. Where
    /// they do not, findings of probes marked `narrow` are shown as open and fail nothing.
    pub(crate) narrow: bool,
    /// Whether `Slot::container` names a container that Docker can inspect.
    pub(crate) docker: bool,
}

/// Every backend that can be used here, or those of `FLOWCELL_HOSTILE_BACKENDS`.
pub(crate) async fn available(socket_dir: &Path) -> Vec<Backend> {
    let mut all = Vec::new();
    let only = std::env::var_os("FLOWCELL_HOSTILE_BACKENDS").unwrap_or_default();
    let only = only.to_string_lossy();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one.trim() == name);
    assert!(WAYS.iter().any(|(name, ..)| wanted(name)), "no backend is called {only:?}");
    for (name, configure, batch) in WAYS.into_iter().filter(|(name, ..)| wanted(name)) {
        let mut config = config(socket_dir, name);
        configure(&mut config);
        let sandbox = Containers::open(&config, WorkerEpoch(Uuid::new_v4())).await.unwrap();
        all.push(Backend {
            name,
            sandbox: Arc::new(sandbox),
            configure,
            batch,
            at_once: 2,
            narrow: true,
            docker: name != "native",
        });
    }
    all
}

type Choice = (&'static str, fn(&mut Config), usize);

/// Name, settings, and how many probes share a cell. A `warm` cell costs three seconds of a
/// processor; the others cost milliseconds.
const WAYS: [Choice; 3] = [
    ("warm", |config| config.sandbox.backend = Way::Warm, 80),
    ("zygote", |config| forked(config, Way::Zygote), 1),
    ("native", |config| forked(config, Way::Native), 1),
];

fn forked(config: &mut Config, backend: Way) {
    config.sandbox.backend = backend;
    // A second one would import for seconds beside the probes.
    config.sandbox.zygotes = 1;
}

/// Findings that are known and not closed yet, with the reason. They are shown, and fail nothing.
///
/// Backend, probe, reason. An entry goes as soon as its hole is closed.
pub(crate) const KNOWN: &[(&str, &str, &str)] = &[
    ("zygote", "cross_cell.address_layout", SIBLINGS),
    ("zygote", "cross_cell.hash_seed", SIBLINGS),
    ("native", "cross_cell.address_layout", SIBLINGS),
    ("native", "cross_cell.hash_seed", SIBLINGS),
    ("warm", "identity.hides_from_the_oom_killer", OOM_SCORE),
    ("zygote", "proc.executable_of_elsewhere", EXECUTABLE),
    ("native", "proc.executable_of_elsewhere", EXECUTABLE),
    ("native", "tricks.proc_is_proc", "the mask: an empty read-only directory of the image"),
];

/// The kernel keeps a floor only for whoever has that right, which virtual machines may withhold.
/// A cell reaches its own memory limit long before the host is short of memory. Forked cells are
/// kept from writing there by Landlock.
const OOM_SCORE: &str = "the floor is set where the engine has CAP_SYS_RESOURCE";
/// A fork runs the zygote's file: of the same image, owned by root, read-only.
const EXECUTABLE: &str = "the interpreter of the zygote's container, of the same image";

/// What a fork cannot change. It helps an attack only where there is a way to another cell.
const SIBLINGS: &str = "children of one zygote; bounded by its retirement, absent in `warm`";

/// Settings of a worker on this host, for any backend.
pub(crate) fn config(socket_dir: &Path, name: &str) -> Config {
    let mut config = Config {
        name: format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]),
        cluster: "flowcell-test".into(),
        socket_dir: socket_dir.to_owned(),
        limits: limits(),
        ..Config::default()
    };
    config.pool.images = vec![PoolImage::fixed(IMAGE, 1)];
    config.pool.ready_ms_max = 120_000;
    config.pool.take_ms_max = 120_000;
    config
}

/// Limits of every cell of the suite: small, so that reaching them costs little.
pub(crate) fn limits() -> CellLimits {
    CellLimits {
        memory_bytes: 384 << 20,
        pids: 64,
        cpu_millis: 1_000,
        wall_ms: 120_000,
        output_bytes_max: 2 << 20,
        frames_max: 5_000,
        log_bytes_max: 256 << 10,
        tmpfs_bytes: 16 << 20,
        ..CellLimits::default()
    }
}

/// How long a cell of a probe that is judged from outside may live.
pub(crate) const ALONE_WALL_MS: u64 = 8_000;
