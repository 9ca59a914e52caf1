//! The items of the CIS Docker Benchmark 1.6.0, section 5, that say something about a cell.
//!
//! Asserted from what the kernel says inside of the cell, so that they hold for cells that no engine
//! made; where Docker made it, also from what Docker says. Left out because they are about the
//! host's use of containers and not about a cell: 5.1 (swarm), 5.23 and 5.24 (`docker exec`), 5.27
//! (health checks: a cell's runner is watched by its worker), 5.28 (image versions: by digest).

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::backends::{self, Backend, limits};
use crate::cell::Cell;
use crate::component::Plan;
use crate::{namespace, skip};

/// The kernel's fixed numbers of the first namespaces.
const FIRST: [(&str, u64, &str); 3] = [
    ("pid", 0xEFFF_FFFC, "5.16 the host's process namespace is not shared"),
    ("ipc", 0xEFFF_FFFF, "5.17 the host's IPC namespace is not shared"),
    ("uts", 0xEFFF_FFFE, "5.21 the host's UTS namespace is not shared"),
];
const DEVICES: [&str; 14] = [
    "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "fd", "stdin", "stdout",
    "stderr", "core", "mqueue",
];

/// `hostile_cell.facts`.
#[derive(Debug, Deserialize)]
struct Facts {
    processes: BTreeMap<String, BTreeMap<String, String>>,
    mounts: Vec<BTreeMap<String, String>>,
    limits: BTreeMap<String, Vec<String>>,
    interfaces: Vec<String>,
    namespaces: BTreeMap<String, u64>,
    devices: Vec<String>,
    listening: Vec<String>,
}

#[test]
fn cells_pass_the_benchmark() {
    if !skip() {
        namespace::run("cis::inside");
    }
}

/// Not a test by itself: what the one above runs in a network namespace of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by cells_pass_the_benchmark"]
async fn inside() {
    if !namespace::is_inside() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for backend in backends::available(dir.path()).await {
        let plan = Plan::new("facts", Vec::new());
        let mut cell = Cell::start(&backend, &plan, None, None).await;
        let inspected = backend.docker.then(|| inspect(cell.container()));
        let text = cell.text("{\"facts\"").await;
        cell.end(&backend).await;
        let mut found: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let facts: Facts = serde_json::from_value(found["facts"].take()).unwrap();
        let mut failed = of_the_kernel(&facts);
        failed.extend(inspected.iter().flat_map(of_docker));
        assert!(failed.is_empty(), "{}: {failed:#?}\n{facts:#?}", backend.name);
        said(&backend, inspected.is_some());
    }
}

fn said(backend: &Backend, inspected: bool) {
    let how = if inspected { "by the kernel and by Docker" } else { "by the kernel" };
    eprintln!("{}: the items of section 5 hold, {how}", backend.name);
}

/// Items that fail, by what `/proc` says inside.
fn of_the_kernel(facts: &Facts) -> Vec<String> {
    let mut failed: Vec<String> = Vec::new();
    let mut check = |holds: bool, item: &str| {
        if !holds {
            failed.push(item.to_owned());
        }
    };
    for (pid, process) in &facts.processes {
        let zero = |name: &str| u64::from_str_radix(&process[name], 16) == Ok(0);
        let all = ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"].into_iter().all(zero);
        check(all, &format!("5.4 capabilities of {pid}"));
        check(process["NoNewPrivs"] == "1", &format!("5.26 new privileges of {pid}"));
        check(process["Seccomp"] == "2", &format!("5.22 seccomp of {pid}"));
        check(
            !process["Uid"].split_whitespace().any(|id| id == "0"),
            &format!("4.1 root is {pid}"),
        );
        check(!process["name"].contains("sshd"), "5.7 no SSH server runs");
    }
    check(facts.interfaces == ["lo"], "5.8, 5.9, 5.10, 5.14, 5.30 no network but loopback");
    check(facts.listening.is_empty(), "5.8, 5.9, 5.14 nothing listens");
    for (name, inode, item) in FIRST {
        check(facts.namespaces[name] != inode, item);
    }
    check(
        facts.devices.iter().all(|name| DEVICES.contains(&name.as_str())),
        "5.18 no device of the host is exposed",
    );
    failed.extend(of_the_mounts(facts));
    failed.extend(of_the_limits(facts));
    failed
}

fn of_the_mounts(facts: &Facts) -> Vec<String> {
    let mut failed = Vec::new();
    let sensitive = ["/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"];
    for mount in &facts.mounts {
        let (target, kind) = (mount["target"].as_str(), mount["kind"].as_str());
        if target == "/" && !mount["options"].split(',').any(|option| option == "ro") {
            failed.push("5.13 the root is read-only".into());
        }
        if mount["tags"].contains("shared:") {
            failed.push(format!("5.20 {target} is shared"));
        }
        let of_the_host = ["ext4", "xfs", "btrfs", "zfs"].contains(&kind) && target != "/";
        // The three files that an engine itself makes are no directory of the host's.
        let file = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&target);
        if of_the_host && !file && sensitive.iter().any(|folder| target.starts_with(folder)) {
            failed.push(format!("5.6 {target} is the host's"));
        }
        if mount["root"].contains("docker.sock") || target.contains("docker.sock") {
            failed.push("5.32 Docker's socket is mounted".into());
        }
    }
    failed
}

fn of_the_limits(facts: &Facts) -> Vec<String> {
    let mut failed = Vec::new();
    let hard = |name: &str| facts.limits.get(name).and_then(|limit| limit.get(1)).cloned();
    if hard("Max open files") != Some(backends::OPEN_FILES_MAX.to_string()) {
        failed.push(format!("5.19 open files: {:?}", hard("Max open files")));
    }
    if hard("Max core file size").as_deref() != Some("0") {
        failed.push(format!("5.19 core files: {:?}", hard("Max core file size")));
    }
    failed
}

fn inspect(container: &str) -> Value {
    let output = Command::new("docker").args(["inspect", container]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    found.remove(0)
}

/// Items that fail, by what Docker says.
#[allow(clippy::too_many_lines, reason = "one table, a line for each item")]
fn of_docker(container: &Value) -> Vec<String> {
    let host = &container["HostConfig"];
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let is = |name: &str, value: &str| host[name].as_str() == Some(value);
    let options: Vec<&str> =
        host["SecurityOpt"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wants = limits();
    let profile = container["AppArmorProfile"].as_str().unwrap_or_default();
    let private = |mount: &Value| mount["Propagation"].as_str() == Some("rprivate");
    let mounts = || container["Mounts"].as_array().into_iter().flatten();
    let items = [
        (
            "5.2 AppArmor, where the host has it",
            !has_apparmor() || !["", "unconfined"].contains(&profile),
        ),
        (
            "5.3 SELinux, where the host has it",
            !has_selinux() || !options.iter().any(|option| option.contains("label=disable")),
        ),
        (
            "5.4 capabilities",
            empty(&host["CapAdd"]) && host["CapDrop"] == serde_json::json!(["ALL"]),
        ),
        ("5.5 privileged", host["Privileged"] == false),
        (
            "5.6 directories of the host",
            // The slot's directory, and the file in it that names the forwards.
            mounts().all(|mount| {
                mount["RW"] == false
                    && ["/run/flowcell", "/etc/hosts"]
                        .map(Value::from)
                        .contains(&mount["Destination"])
            }),
        ),
        ("5.8, 5.9, 5.14 ports", empty(&host["PortBindings"]) && host["PublishAllPorts"] == false),
        ("5.10 the host's network", is("NetworkMode", "none")),
        (
            "5.11 memory",
            host["Memory"].as_u64() == Some(wants.memory_bytes)
                && host["MemorySwap"] == host["Memory"],
        ),
        (
            "5.12 processors",
            host["NanoCpus"].as_u64() == Some(u64::from(wants.cpu_millis) * 1_000_000),
        ),
        ("5.13 read-only root", host["ReadonlyRootfs"] == true),
        ("5.15 restarts", matches!(host["RestartPolicy"]["Name"].as_str(), Some("no" | ""))),
        ("5.16 the host's processes", is("PidMode", "")),
        ("5.17 the host's IPC", is("IpcMode", "private") || is("IpcMode", "none")),
        ("5.18 devices", empty(&host["Devices"]) && empty(&host["DeviceRequests"])),
        ("5.19 ulimits", host["Ulimits"].as_array().is_some_and(|limits| !limits.is_empty())),
        ("5.20 propagation", mounts().all(private)),
        ("5.21 the host's UTS", is("UTSMode", "")),
        (
            "5.22 seccomp",
            !options.iter().any(|option| {
                option.contains("seccomp=unconfined") || option.contains("seccomp:unconfined")
            }),
        ),
        ("5.25 control group", empty(&host["CgroupParent"])),
        (
            "5.26 new privileges",
            options.iter().any(|option| {
                option.starts_with("no-new-privileges") && !option.ends_with("false")
            }),
        ),
        ("5.29 processes", host["PidsLimit"].as_u64() == Some(u64::from(wants.pids))),
        ("5.30 docker0", !is("NetworkMode", "default") && !is("NetworkMode", "bridge")),
        ("5.31 the host's users", !is("UsernsMode", "host")),
        ("5.32 Docker's socket", mounts().all(|mount| !mount.to_string().contains("docker.sock"))),
    ];
    items.into_iter().filter(|(_, holds)| !holds).map(|(item, _)| item.to_owned()).collect()
}

fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}

fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}
