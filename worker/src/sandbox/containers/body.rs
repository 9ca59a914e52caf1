//! The container's description: every hardening setting is in this file.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits,
};
use domain::limits::CellLimits;

use super::Inner;
use crate::sandbox::slot::{MOUNT_POINT, SlotDir};
use crate::sandbox::{SlotId, SlotSpec};

/// Nobody's id on any host; the same in the image.
const USER: &str = "65532:65532";

/// Weight while a runner imports: a refill must not slow down a cell that has work. Half of the
/// usual, not less: at an eighth, refills on a busy host took a minute instead of ten seconds, and
/// then tasks wait for containers that are being starved for their sake.
const CPU_SHARES_WARMING: i64 = 512;
/// The engine's usual weight, for a cell that has its task.
pub(crate) const CPU_SHARES_RUNNING: u64 = 1_024;

/// `/dev/shm`: enough for the locks of Python's `multiprocessing`, too little to hoard.
const SHM_BYTES: i64 = 8 * 1024 * 1024;
/// Tenants die before the worker does.
pub(super) const OOM_SCORE_ADJ: i64 = 500;

/// Whose containers share an engine.
pub(crate) const LABEL_CLUSTER: &str = "flowcell.cluster";
/// The worker's name.
pub(crate) const LABEL_WORKER: &str = "flowcell.worker";
/// The process that made it.
pub(crate) const LABEL_EPOCH: &str = "flowcell.epoch";
/// `cell` or `zygote`, for whoever looks at `docker ps`.
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
/// Langflow's runtime, its clients and agents, twice over.
const ZYGOTE_MEMORY_BYTES: i64 = 2 * 1024 * 1024 * 1024;

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
        ..cell(inner, id, spec, dir, Filter::Cell)
    }
}

/// A container with nothing in it but a first process that waits.
pub(super) fn hollow(
    inner: &Inner,
    id: SlotId,
    spec: &SlotSpec,
    dir: &SlotDir,
) -> ContainerCreateBody {
    ContainerCreateBody {
        entrypoint: Some(CELL_INIT.map(str::to_owned).into()),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        ..cell(inner, id, spec, dir, Filter::Stub)
    }
}

/// The container of a zygote: no network, nothing writable but the control groups, and the
/// capabilities above. It shares the host's process numbers, because it may only enter cells that
/// are below its own process namespace.
pub(super) fn zygote(inner: &Inner, id: SlotId, image: &str, dir: &SlotDir) -> ContainerCreateBody {
    let groups = Mount {
        typ: Some(MountType::BIND),
        source: Some("/sys/fs/cgroup".into()),
        target: Some(zygote::serve::CGROUP_MOUNTS.into()),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some("cell".into()),
        entrypoint: Some(ZYGOTE.map(str::to_owned).into()),
        user: Some("0:0".into()),
        attach_stdout: Some(false),
        attach_stderr: Some(true),
        network_disabled: Some(true),
        labels: Some(labels(inner, id, "zygote")),
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            network_mode: Some("none".into()),
            pid_mode: Some("host".into()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::HOST),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), "rw,noexec,nosuid,nodev".to_owned())])),
            mounts: Some(vec![socket_mount(dir), groups]),
            cap_drop: Some(vec!["ALL".into()]),
            cap_add: Some(ZYGOTE_CAPABILITIES.map(str::to_owned).into()),
            security_opt: Some(vec!["no-new-privileges:true".into()]),
            memory: Some(ZYGOTE_MEMORY_BYTES),
            memory_swap: Some(ZYGOTE_MEMORY_BYTES),
            // Itself and the children that have not entered their cells yet.
            pids_limit: Some(64),
            cpu_shares: Some(CPU_SHARES_WARMING),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            ipc_mode: Some("private".into()),
            runtime: inner.oci_runtime.clone(),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
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
    dir: &SlotDir,
    filter: Filter,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some("cell".into()),
        user: Some(USER.into()),
        // Never a terminal: without framing, hostile output could be read as a frame header.
        tty: Some(false),
        // No interface but `lo`. Cheaper than the network `none` on engines before 26.
        network_disabled: Some(true),
        labels: Some(labels(inner, id, "cell")),
        host_config: Some(host(inner, spec, dir, filter)),
        ..ContainerCreateBody::default()
    }
}

fn host(inner: &Inner, spec: &SlotSpec, dir: &SlotDir, filter: Filter) -> HostConfig {
    let limits = &inner.limits;
    // Owned by the cell's user: runc gives a tmpfs the mode that the image's directory has.
    let tmpfs =
        format!("rw,noexec,nosuid,nodev,uid=65532,gid=65532,mode=0700,size={}", spec.tmpfs_bytes);
    HostConfig {
        auto_remove: Some(true),
        network_mode: Some("none".into()),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs)])),
        mounts: Some(vec![socket_mount(dir)]),
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

fn socket_mount(dir: &SlotDir) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(dir.path().to_string_lossy().into_owned()),
        target: Some(MOUNT_POINT.into()),
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
