//! The engine's AppArmor profile for a cell, on hosts that have AppArmor.

use std::fs;
use std::io;

/// What Docker confines containers with that do not say otherwise, zygotes among them.
const PROFILE: &str = "docker-default";
/// Cannot be read where the kernel has no AppArmor, or does not use it.
const CURRENT: &str = "/proc/self/attr/apparmor/current";

/// Puts this process under the profile, as if the engine had made its container. A zygote is under
/// it and may only join processes that are as well.
///
/// # Errors
/// What the kernel says. An engine that has loaded no such profile confines its zygotes with none.
pub(super) fn enter() -> io::Result<()> {
    if fs::read(CURRENT).is_err() {
        return Ok(());
    }
    match fs::write(CURRENT, format!("changeprofile {PROFILE}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
