//! The control: every probe in a container that was made weak on purpose.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use uuid::Uuid;

use crate::IMAGE;
use crate::cell::Said;
use crate::component::{CANARY, SECRET};
use crate::register::{Control, Probe, folder};

/// The whole control takes a quarter of this on an idle machine.
const SECONDS_MAX: &str = "240";

/// What engines of all ages know by name, in the order of their bits.
const CAPABILITIES: [&str; 38] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
];

/// Runs one of the two weak containers with the probes that have their control there.
pub(crate) fn run(probes: &[Probe], control: Control) -> Vec<Said> {
    let ids: Vec<&str> = probes
        .iter()
        .filter(|probe| probe.control == control)
        .map(|probe| probe.id.as_str())
        .collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let host = control == Control::Host;
    let canary = tempfile::tempdir().unwrap();
    std::fs::write(canary.path().join("file"), "canary").unwrap();
    let name = format!("flowcell-weak-{}", Uuid::new_v4().simple());
    let _removed = Removed(&name);
    let mut docker = Command::new("timeout");
    docker.args([SECONDS_MAX, "docker", "run", "--rm", "-i", "--init", "--name", &name]);
    weaken(&mut docker, canary.path());
    if host {
        docker.args(["--pid", "host", "--ipc", "host", "--uts", "host"]);
    } else {
        docker.args(["--shm-size", "64m", "--group-add", "999"]);
    }
    docker.args(["--entrypoint", "/opt/flowcell/bin/python", IMAGE, "/suite/driver.py"]);
    docker.arg(if host { "--host" } else { "--control" });
    let mut child = docker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", json!({ "scene": scene(), "ids": ids })).unwrap();
    // Held open: standard input must be something that can be read from.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success(), "the control ended with {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything an engine offers to weaken a container, but for the host's network. `--privileged`
/// would be shorter, and fails on engines that lack a capability themselves.
fn weaken(docker: &mut Command, canary: &Path) {
    docker.args(["--network", "none", "--user", "0", "--memory", "3g", "--pids-limit", "3000"]);
    for (bit, name) in CAPABILITIES.iter().enumerate() {
        if bounding_set() >> bit & 1 == 1 {
            docker.args(["--cap-add", name]);
        }
    }
    for option in ["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"] {
        docker.args(["--security-opt", option]);
    }
    docker.args(["--device-cgroup-rule", "a *:* rwm", "--oom-score-adj", "200"]);
    docker.args(["-e", "CANARY_TOKEN=canary", "-e", "PYTHONPATH=/suite"]);
    docker.args(["-v", &format!("{}:/suite:ro", folder().display())]);
    docker.args(["-v", &format!("{}:/host-canary", canary.display())]);
}

/// What this host has; the engine cannot give more.
fn bounding_set() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

/// Small limits: the probes go a little beyond them, and nothing here stops them.
fn scene() -> serde_json::Value {
    json!({
        "limits": {
            "pids": 64, "files": 512, "tmpfs_bytes": 8 << 20, "shm_bytes": 8 << 20,
            "memory_bytes": 64 << 20, "cpu_millis": 500, "frames": 2_000,
            "output_bytes": 1 << 20, "log_bytes": 64 << 10,
            "connections": crate::world::CONNECTIONS_MAX,
        },
        "secret": SECRET,
        "canary": CANARY,
        "wall": 1.0,
    })
}

/// Removes the container, whatever happened.
struct Removed<'a>(&'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let mut docker = Command::new("docker");
        let _ = docker.args(["rm", "-f", "-v", self.0]).output();
    }
}
