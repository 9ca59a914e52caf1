//! The container's description: every hardening setting is in this file.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits,
};
use domain::limits::CellLimits;

use zygote::launch::{HIDDEN, READ_ONLY};
use zygote::lockdown::{CELL_GROUP, tmp_files, user_of};

use super::Inner;
use crate::config::RuntimesConfig;
use crate::sandbox::slot::{HOSTS_FILE, MOUNT_POINT, SlotDir};
use crate::sandbox::{SlotId, SlotSpec};

/// Weight while a runner imports: a refill must not slow down a cell that has work. Half of the
/// usual, not less: at an eighth, refills on a busy host took a minute instead of ten seconds, and
/// then tasks wait for containers that are being starved for their sake.
pub(super) const CPU_SHARES_WARMING: i64 = 512;
/// The engine's usual weight, for a cell that has its task.
pub(crate) const CPU_SHARES_RUNNING: u64 = 1_024;

/// `/dev/shm`: enough for the locks of Python's `multiprocessing`, too little to hoard.
pub(super) const SHM_BYTES: i64 = 8 * 1024 * 1024;
/// Tenants die before the worker does.
pub(super) const OOM_SCORE_ADJ: i64 = 500;

/// Whose containers share an engine.
pub(crate) const LABEL_CLUSTER: &str = "flowcell.cluster";
/// The worker's name.
pub(crate) const LABEL_WORKER: &str = "flowcell.worker";
/// The process that made it.
pub(crate) const LABEL_EPOCH: &str = "flowcell.epoch";
/// `cell`, `zygote`, `launcher`, `build` or `layer`, for whoever looks at `docker ps`.
const LABEL_KIND: &str = "flowcell.kind";
/// The slot.
pub(crate) const LABEL_SLOT: &str = "flowcell.slot";

/// The first process of a hollow cell, in the image.
const CELL_INIT: [&str; 2] = ["/opt/flowcell/bin/flowcell-cell", "init"];
/// What cells are forked from, in the image.
const ZYGOTE: [&str; 3] = ["/opt/flowcell/bin/python", "-m", "flowcell_runner.zygote"];
/// What a zygote needs to enter the namespaces of a cell and to give up everything else there.
/// That makes it as strong as root: it never sees a tenant's byte.
const ZYGOTE_CAPABILITIES: [&str; 6] =
    ["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SETUID", "SETGID", "SETPCAP"];
/// What makes cells without the engine, in the image.
const LAUNCHER: [&str; 2] = ["/opt/flowcell/bin/flowcell-cell", "launch"];
/// What a launcher needs to make namespaces, mounts, control groups and a loopback interface, and
/// to give up everything else in a cell. As strong as root, and as far from tenants as a zygote.
/// `DAC_OVERRIDE`: nobody may write to the root of a hierarchy, and only the worker's user may
/// enter the directory of the slots.
const LAUNCHER_CAPABILITIES: [&str; 7] =
    ["SYS_ADMIN", "NET_ADMIN", "SETUID", "SETGID", "SETPCAP", "KILL", "DAC_OVERRIDE"];
/// One small process, and for a moment those that have not joined their own groups yet.
const LAUNCHER_MEMORY_BYTES: i64 = 64 * 1024 * 1024;
/// Langflow's runtime, its clients and agents, twice over.
const ZYGOTE_MEMORY_BYTES: i64 = 2 * 1024 * 1024 * 1024;

/// The installer's threads, and those of a package's own build where these are allowed.
const BUILD_PIDS: i64 = 256;
/// Where a build finds the operator's wheels.
const WHEELS: &str = "/srv/wheels";

/// A container whose runner imports everything itself.
pub(super) fn warm(
    inner: &Inner,
    id: SlotId,
    spec: &SlotSpec,
    dir: &SlotDir,
) -> ContainerCreateBody {
    ContainerCreateBody {
        // The lifeline: the runner exits at its end of file, and that comes when we die.
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(false),
        attach_stderr: Some(true),
        ..cell(inner, id, spec, &spec.image, dir, Filter::Cell)
    }
}

/// A container with nothing in it but a first process that waits, of the very image that the
/// zygote is of.
pub(super) fn hollow(
    inner: &Inner,
    id: SlotId,
    spec: &SlotSpec,
    image: &str,
    dir: &SlotDir,
) -> ContainerCreateBody {
    ContainerCreateBody {
        entrypoint: Some(CELL_INIT.map(str::to_owned).into()),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        ..cell(inner, id, spec, image, dir, Filter::Stub)
    }
}

/// The container of a build: a cell's, with limits of its own and a folder of wheels where there is
/// one.
pub(super) fn build(
    inner: &Inner,
    id: SlotId,
    image: &str,
    dir: &SlotDir,
    config: &RuntimesConfig,
) -> ContainerCreateBody {
    let spec = SlotSpec { image: image.to_owned(), tmpfs_bytes: config.work_bytes() };
    let mut body = ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(labels(inner, id, "build")),
        ..cell(inner, id, &spec, image, dir, Filter::Cell)
    };
    if let Some(host) = &mut body.host_config {
        host.memory = Some(signed(config.memory_bytes));
        host.memory_swap = Some(signed(config.memory_bytes));
        host.nano_cpus = Some(nano_cpus(config.cpu_millis));
        host.pids_limit = Some(BUILD_PIDS);
        let wheels = config.wheels.iter().map(|folder| mount(folder, WHEELS));
        host.mounts.get_or_insert_default().extend(wheels);
    }
    body
}

/// A container that is never started: a layer is put on its image.
pub(super) fn layer(inner: &Inner, id: SlotId, image: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        network_disabled: Some(true),
        labels: Some(labels(inner, id, "layer")),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            runtime: inner.oci_runtime.clone(),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The container of a zygote: no network, nothing writable but the control groups, and the
/// capabilities above. It shares the host's process numbers, because it may only enter cells that
/// are below its own process namespace.
pub(super) fn zygote(inner: &Inner, id: SlotId, image: &str, dir: &SlotDir) -> ContainerCreateBody {
    let host = HostConfig {
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), "rw,noexec,nosuid,nodev".to_owned())])),
        mounts: Some(vec![mount(dir.path(), MOUNT_POINT), groups_mount()]),
        cap_add: Some(ZYGOTE_CAPABILITIES.map(str::to_owned).into()),
        security_opt: Some(vec!["no-new-privileges:true".into()]),
        memory: Some(ZYGOTE_MEMORY_BYTES),
        memory_swap: Some(ZYGOTE_MEMORY_BYTES),
        // Itself and the children that have not entered their cells yet.
        pids_limit: Some(64),
        ..HostConfig::default()
    };
    let entrypoint = ZYGOTE.map(str::to_owned).into();
    helper(inner, labels(inner, id, "zygote"), image, entrypoint, host)
}

/// The container of a launcher: the same, and the directories of this worker's slots. Cells get
/// their files from it, so it is made of their image. It shares the host's process numbers so that
/// a zygote, which does as well, may enter its cells.
pub(super) fn launcher(
    inner: &Inner,
    id: SlotId,
    image: &str,
    dir: &SlotDir,
    owner: &str,
) -> ContainerCreateBody {
    let slots = Mount {
        typ: Some(MountType::BIND),
        source: Some(inner.root.to_string_lossy().into_owned()),
        target: Some(zygote::launch::SLOTS.into()),
        read_only: Some(true),
        ..Mount::default()
    };
    let host = HostConfig {
        mounts: Some(vec![mount(dir.path(), MOUNT_POINT), groups_mount(), slots]),
        cap_add: Some(LAUNCHER_CAPABILITIES.map(str::to_owned).into()),
        security_opt: Some(vec![
            "no-new-privileges:true".into(),
            // The engine's lists refuse what makes a container. Each cell's first process puts
            // ours on itself, and runners bring it too.
            "seccomp=unconfined".into(),
            "apparmor=unconfined".into(),
        ]),
        memory: Some(LAUNCHER_MEMORY_BYTES),
        memory_swap: Some(LAUNCHER_MEMORY_BYTES),
        pids_limit: Some(256),
        ..HostConfig::default()
    };
    let mut entrypoint: Vec<String> = LAUNCHER.map(str::to_owned).into();
    entrypoint.push(owner.to_owned());
    helper(inner, labels(inner, id, "launcher"), image, entrypoint, host)
}

/// What the privileged containers of a worker have in common.
fn helper(
    inner: &Inner,
    labels: HashMap<String, String>,
    image: &str,
    entrypoint: Vec<String>,
    host: HostConfig,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some("cell".into()),
        entrypoint: Some(entrypoint),
        user: Some("0:0".into()),
        attach_stdout: Some(false),
        attach_stderr: Some(true),
        network_disabled: Some(true),
        labels: Some(labels),
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            network_mode: Some("none".into()),
            pid_mode: Some("host".into()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            cpu_shares: Some(CPU_SHARES_WARMING),
            // The least that a fork of it may have, where the engine has the right to say so.
            oom_score_adj: Some(OOM_SCORE_ADJ),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            ipc_mode: Some("private".into()),
            runtime: inner.oci_runtime.clone(),
            ..host
        }),
        ..ContainerCreateBody::default()
    }
}

fn groups_mount() -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some("/sys/fs/cgroup".into()),
        target: Some(zygote::serve::CGROUP_MOUNTS.into()),
        ..Mount::default()
    }
}

fn labels(inner: &Inner, id: SlotId, kind: &str) -> HashMap<String, String> {
    let labels = [
        (LABEL_CLUSTER, inner.owner.cluster.clone()),
        (LABEL_WORKER, inner.owner.worker.clone()),
        (LABEL_EPOCH, inner.owner.epoch.to_string()),
        (LABEL_KIND, kind.to_owned()),
        (LABEL_SLOT, id.to_string()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The system calls that the engine allows.
#[derive(Clone, Copy)]
enum Filter {
    /// What a cell needs.
    Cell,
    /// What our first process needs; the runner that enters brings its own filter.
    Stub,
}

impl Filter {
    fn profile(self) -> &'static str {
        match self {
            Self::Cell => seccomp::docker_profile(),
            Self::Stub => seccomp::docker_stub_profile(),
        }
    }
}

/// What every cell's container has.
fn cell(
    inner: &Inner,
    id: SlotId,
    spec: &SlotSpec,
    image: &str,
    dir: &SlotDir,
    filter: Filter,
) -> ContainerCreateBody {
    let user = user_of(id.number());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some("cell".into()),
        user: Some(format!("{user}:{CELL_GROUP}")),
        // Never a terminal: without framing, hostile output could be read as a frame header.
        tty: Some(false),
        // No interface but `lo`. Cheaper than the network `none` on engines before 26.
        network_disabled: Some(true),
        labels: Some(labels(inner, id, "cell")),
        host_config: Some(host(inner, spec, dir, filter, user)),
        ..ContainerCreateBody::default()
    }
}

fn host(inner: &Inner, spec: &SlotSpec, dir: &SlotDir, filter: Filter, user: u32) -> HostConfig {
    let (limits, bytes) = (&inner.limits, spec.tmpfs_bytes);
    // Owned by the cell's user: runc gives a tmpfs the mode that the image's directory has.
    let files = tmp_files(bytes);
    let tmpfs = format!(
        "rw,noexec,nosuid,nodev,uid={user},gid={CELL_GROUP},mode=0700,size={bytes},nr_inodes={files}"
    );
    HostConfig {
        auto_remove: Some(true),
        network_mode: Some("none".into()),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs)])),
        // The engine mounts a file of its own where it is not given one.
        mounts: Some(vec![
            mount(dir.path(), MOUNT_POINT),
            mount(&dir.path().join(HOSTS_FILE), "/etc/hosts"),
        ]),
        // The same on every engine, however old its own lists are.
        masked_paths: Some(masked()),
        readonly_paths: Some(READ_ONLY.map(|name| format!("/proc/{name}")).into()),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec![
            "no-new-privileges:true".into(),
            format!("seccomp={}", filter.profile()),
        ]),
        memory: Some(signed(limits.memory_bytes)),
        // Equal to the memory: no swap.
        memory_swap: Some(signed(limits.memory_bytes)),
        pids_limit: Some(i64::from(limits.pids)),
        nano_cpus: Some(nano_cpus(limits.cpu_millis)),
        cpu_shares: Some(CPU_SHARES_WARMING),
        ulimits: Some(vec![
            // Of each process. The runner lowers it to the task's before there is any user code.
            ulimit("nofile", i64::from(limits.open_files)),
            // A core file would hold the cell's secrets.
            ulimit("core", 0),
        ]),
        shm_size: Some(SHM_BYTES),
        oom_score_adj: Some(OOM_SCORE_ADJ),
        // A tenant must not fill the disk with output.
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        ipc_mode: Some("private".into()),
        runtime: inner.oci_runtime.clone(),
        ..HostConfig::default()
    }
}

fn masked() -> Vec<String> {
    let processes = HIDDEN.iter().map(|name| format!("/proc/{name}"));
    let devices = ["/sys/firmware", "/sys/devices/virtual/powercap"].map(str::to_owned);
    processes.chain(devices).collect()
}

fn mount(source: &Path, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.into()),
        // Connecting to a socket needs no writable mount.
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

/// What has to change in a container made with `pool` for a task with `task`; `None` when nothing
/// has to. The size of `/tmp` cannot change; it is part of the slot's spec.
pub(super) fn update(
    pool: &CellLimits,
    task: &CellLimits,
    weight_set: bool,
) -> Option<ContainerUpdateBody> {
    let mut body = ContainerUpdateBody::default();
    let mut needed = false;
    if !weight_set {
        body.cpu_shares = i64::try_from(CPU_SHARES_RUNNING).ok();
        needed = true;
    }
    if task.memory_bytes != pool.memory_bytes {
        body.memory = Some(signed(task.memory_bytes));
        body.memory_swap = Some(signed(task.memory_bytes));
        needed = true;
    }
    if task.pids != pool.pids {
        body.pids_limit = Some(i64::from(task.pids));
        needed = true;
    }
    if task.cpu_millis != pool.cpu_millis {
        body.nano_cpus = Some(nano_cpus(task.cpu_millis));
        needed = true;
    }
    needed.then_some(body)
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.into()), soft: Some(value), hard: Some(value) }
}

fn nano_cpus(cpu_millis: u32) -> i64 {
    i64::from(cpu_millis) * 1_000_000
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_updated() {
        let pool = CellLimits::default();
        assert!(update(&pool, &pool, true).is_none());
        let body = update(&pool, &pool, false).unwrap();
        assert_eq!((body.cpu_shares, body.memory), (Some(1_024), None));
        let task = CellLimits { memory_bytes: 512, pids: 9, cpu_millis: 500, ..pool.clone() };
        let body = update(&pool, &task, true).unwrap();
        assert_eq!((body.memory, body.memory_swap), (Some(512), Some(512)));
        assert_eq!((body.pids_limit, body.nano_cpus), (Some(9), Some(500_000_000)));
        assert_eq!(body.cpu_shares, None);
    }
}
