//! The hostile-code suite: components that try to get out of their cell, on every backend.
//!
//! Each probe is a function in `probes/*.py`; the file is its group. The harness puts it into the
//! source of a real component, runs that in a real cell of every backend, and runs the same
//! function in a container that was made weak on purpose, where it has to find something.
//! `docs/HOSTILE-SUITE.md` tells what is tried and what is not.
//!
//! # Adding a probe
//!
//! ```python
//! @probe("CVE-2099-1234, or CIS 5.x, or the technique's name")
//! def does_something() -> str | None:
//!     """One line: what it would mean if this returned a text."""
//!     call("mount", b"none", b"/tmp", b"tmpfs", 0, 0)   # an OSError is a barrier that held
//!     return "a tmpfs is mounted over /tmp"             # a text is a finding
//! ```
//! Options of `probe`: `mode="egress"` gives it a proxy with one rule; `mode="alone"` gives it a
//! cell to itself, judged from outside by `ends`, the failure codes it may end with; `narrow=True`
//! says that only the cells' own system call filter stops it, not an engine's default one;
//! `control="host"` runs its control in a container that shares the host's namespaces;
//! `no_control="…"` says why a kernel may offer no control. `pair` makes a probe of two cells: one
//! leaves a trace, the other looks for it. If the control does not find anything yet, put what it
//! needs into `weak_world.py`. A probe must stop by itself a little beyond the limit it tries, and
//! must never write to a setting of the host's kernel: it finds out whether it could.
//!
//! # No packet leaves the machine
//!
//! The suite runs in a network namespace of its own (`unshare --net`), where its own servers have
//! the forbidden addresses: a proxy that let something through would reach those. Cells have no
//! network, and a network probe that sees an interface the suite did not make sends nothing and
//! reports that instead. The weak container has a namespace of its own as well.
//!
//! `FLOWCELL_SKIP_DOCKER=1` skips it; `FLOWCELL_HOSTILE_ONLY=frames.,proc.kcore` runs what begins
//! with one of these, `FLOWCELL_HOSTILE_BACKENDS=native` on these backends.
//! Needs root, Docker, iproute2 and `flowcell/runner:lfx-1.13`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod alone;
mod backends;
mod cell;
mod cis;
#[path = "../docker/cluster.rs"]
#[allow(dead_code, reason = "shared with the suite of the worker, which uses more of it")]
mod cluster;
mod component;
#[path = "../docker/image.rs"]
mod image;
mod namespace;
mod register;
mod report;
mod suite;
mod together;
mod weak;
mod world;

/// The image that cells and the weak container are made of.
const IMAGE: &str = "flowcell/runner:lfx-1.13";

/// Whether this run is to do without an engine, or has no image. Says so.
fn skip() -> bool {
    let skip = std::env::var_os("FLOWCELL_SKIP_DOCKER").is_some_and(|value| value == "1");
    if skip {
        eprintln!("skipped: FLOWCELL_SKIP_DOCKER=1");
    }
    skip || !has_image()
}

fn has_image() -> bool {
    let mut docker = std::process::Command::new("docker");
    docker.args(["image", "inspect", IMAGE]);
    let found = docker.output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: {IMAGE} is not built");
    }
    found
}
