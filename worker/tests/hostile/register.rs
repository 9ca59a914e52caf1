//! Which probes there are, as `probes/*.py` say.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::IMAGE;

/// One probe.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Probe {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) about: String,
    pub(crate) technique: String,
    pub(crate) mode: Mode,
    /// For those that are judged from outside: codes that the attempt may end with.
    pub(crate) ends: Vec<String>,
    pub(crate) control: Control,
    /// Why there may be no control on this kernel; empty when there must be one.
    pub(crate) no_control: String,
    /// Stopped by the cells' own filter only.
    pub(crate) narrow: bool,
}

/// How a probe runs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Together,
    Egress,
    Alone,
    Pair,
}

/// Which weak container is its control.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Control {
    Weak,
    Host,
}

/// Where the probes are.
pub(crate) fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "hostile", "probes"].iter().collect()
}

/// All probes, without those that the caller of the suite does not want.
pub(crate) fn all() -> Vec<Probe> {
    let mount = format!("{}:/suite:ro", folder().display());
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "-v", &mount, "-e", "PYTHONPATH=/suite"])
        .args(["--entrypoint", "/opt/flowcell/bin/python", IMAGE, "/suite/driver.py", "--list"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether the caller wants this probe (`FLOWCELL_HOSTILE_ONLY`).
pub(crate) fn wanted(id: &str) -> bool {
    let Some(only) = std::env::var_os("FLOWCELL_HOSTILE_ONLY") else { return true };
    only.to_string_lossy().split(',').any(|start| id.starts_with(start.trim()))
}
