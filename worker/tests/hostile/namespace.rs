//! A network namespace for the whole suite, so that nothing it does can reach a real network.

use std::process::{Command, Stdio};

/// Set in the process that is inside.
const INSIDE: &str = "FLOWCELL_HOSTILE_INSIDE";

/// Whether this process is the one inside.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs an ignored test of this program in a network namespace of its own.
pub(crate) fn run(test: &str) {
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare(1) of util-linux is needed");
    assert!(status.success(), "{test} failed; see above");
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &[&str]) -> bool {
    assert!(is_inside(), "only in a namespace of the suite's own");
    let output = Command::new("ip").args(arguments).output().expect("ip(8) of iproute2 is needed");
    output.status.success()
}
