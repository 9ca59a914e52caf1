//! How a container is fenced.

use zygote::lockdown::CELL_GROUP;

use super::{Kind, Rules};
use crate::body::{Host, Texts};
use crate::refusal::{Refusal, must};

/// What a zygote needs to enter cells, and no more.
const ZYGOTE_CAPABILITIES: [&str; 6] =
    ["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SETUID", "SETGID", "SETPCAP"];
const CPU_SHARES_MAX: i64 = 1_024;
const SHM_BYTES_MAX: i64 = 64 * 1024 * 1024;

impl Rules {
    pub(super) fn host(&self, host: &Host, kind: Kind, user: u32) -> Result<(), Refusal> {
        must(host.network_mode == "none", "network", "cells have no network")?;
        self.runtime(host)?;
        if kind == Kind::Layer {
            return nothing_else(host);
        }
        must(host.auto_remove, "auto remove", "a container is removed at its end")?;
        must(host.readonly_rootfs, "root", "the image's files are read-only")?;
        must(host.cap_drop == ["ALL"], "capabilities", "all capabilities are dropped")?;
        must(host.ipc_mode.as_deref() == Some("private"), "ipc", "a cell shares no memory")?;
        let log = host.log_config.as_ref().is_some_and(|log| log.kind == "none");
        must(log, "log", "the engine keeps no log of a cell")?;
        must(host.oom_score_adj.is_some_and(|n| n >= 0), "oom", "a cell dies before its host")?;
        namespaces(host, kind)?;
        capabilities(host, kind)?;
        security(host, kind)?;
        limits(host, kind)?;
        tmpfs(host.tmpfs.as_ref(), kind, user)
    }

    fn runtime(&self, host: &Host) -> Result<(), Refusal> {
        let good = match &host.runtime {
            None => self.oci_runtimes.is_empty(),
            Some(name) => self.oci_runtimes.contains(name),
        };
        must(good, "runtime", "not an OCI runtime for cells (--oci-runtime, worker.oci_runtime)")
    }
}

/// A layer is never started: it has no use for any setting.
fn nothing_else(host: &Host) -> Result<(), Refusal> {
    let good = host.mounts.is_empty()
        && host.tmpfs.is_none()
        && host.cap_add.is_empty()
        && host.security_opt.is_empty()
        && host.pid_mode.is_none()
        && host.cgroupns_mode.is_none()
        && host.ipc_mode.is_none();
    must(good, "layer", "a layer has no settings")
}

fn namespaces(host: &Host, kind: Kind) -> Result<(), Refusal> {
    let own = |mode: &Option<String>| match (mode.as_deref(), kind) {
        (None, Kind::Zygote) => false,
        (None, _) => true,
        // It may only enter cells below its own process namespace.
        (Some(mode), Kind::Zygote) => mode == "host",
        (Some(_), _) => false,
    };
    must(own(&host.pid_mode), "pid", "a cell sees its own processes only")?;
    must(own(&host.cgroupns_mode), "cgroup", "a cell sees its own control group only")
}

fn capabilities(host: &Host, kind: Kind) -> Result<(), Refusal> {
    let expected: &[&str] = if kind == Kind::Zygote { &ZYGOTE_CAPABILITIES } else { &[] };
    must(host.cap_add == expected, "capabilities", "no capability is added")
}

fn security(host: &Host, kind: Kind) -> Result<(), Refusal> {
    let given: Vec<&str> = host.security_opt.iter().map(String::as_str).collect();
    let good = match (kind, given.as_slice()) {
        (Kind::Zygote, ["no-new-privileges:true"]) => true,
        // Which profile does not matter: it is replaced.
        (Kind::Cell | Kind::Build, ["no-new-privileges:true", profile]) => {
            profile.starts_with("seccomp={")
        }
        _ => false,
    };
    must(good, "security", "no new privileges, and a list of system calls")
}

fn limits(host: &Host, kind: Kind) -> Result<(), Refusal> {
    let positive = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
    must(positive(host.memory), "limits", "memory is limited")?;
    must(host.memory_swap == host.memory, "limits", "there is no swap")?;
    must(positive(host.pids_limit), "limits", "processes are limited")?;
    let shares = host.cpu_shares.is_some_and(|n| (2..=CPU_SHARES_MAX).contains(&n));
    must(shares, "limits", "the processor's weight is 2 to 1024")?;
    let shm = host.shm_size.is_none_or(|bytes| (0..=SHM_BYTES_MAX).contains(&bytes));
    must(shm, "limits", "/dev/shm is small")?;
    if kind == Kind::Zygote {
        return must(host.ulimits.is_empty(), "limits", "a zygote sets its own limits");
    }
    must(positive(host.nano_cpus), "limits", "processor time is limited")?;
    let known = host.ulimits.iter().all(|limit| {
        limit.soft == limit.hard
            && match limit.name.as_str() {
                "nofile" => limit.hard > 0,
                "core" => limit.hard == 0,
                _ => false,
            }
    });
    let names: std::collections::BTreeSet<_> = host.ulimits.iter().map(|l| &l.name).collect();
    must(known && names.len() == 2, "limits", "open files and core files are limited")
}

fn tmpfs(tmpfs: Option<&Texts>, kind: Kind, user: u32) -> Result<(), Refusal> {
    let options = tmpfs.filter(|tmpfs| tmpfs.0.len() == 1).and_then(|tmpfs| tmpfs.get("/tmp"));
    let options = options.ok_or_else(|| Refusal::new("tmpfs", "there is one, at /tmp"))?;
    let rest = options.strip_prefix("rw,noexec,nosuid,nodev");
    let rest = rest.ok_or_else(|| Refusal::new("tmpfs", "nothing in it can be executed"))?;
    if kind == Kind::Zygote {
        return must(rest.is_empty(), "tmpfs", "a zygote's has no settings");
    }
    let owner = format!(",uid={user},gid={CELL_GROUP},mode=0700,size=");
    let sizes = rest.strip_prefix(&owner).and_then(|sizes| sizes.split_once(",nr_inodes="));
    let number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let good = sizes.is_some_and(|(bytes, files)| number(bytes) && number(files));
    must(good, "tmpfs", "it belongs to the cell's user and is limited")
}
