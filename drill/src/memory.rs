//! Memory of processes, as the kernel tells it.

use std::fs;
use std::path::PathBuf;

/// What one process has in memory.
pub(crate) fn resident_bytes(process: u32) -> Option<u64> {
    bytes(&fs::read_to_string(of(process).join("status")).ok()?, "VmRSS:")
}

/// What a process and all below it have in memory together. A page that several share counts in
/// part for each of them, so it is in the sum once.
pub(crate) fn family_bytes(process: u32) -> Option<u64> {
    let rollup = fs::read_to_string(of(process).join("smaps_rollup")).ok()?;
    let below: u64 = children(process).into_iter().filter_map(family_bytes).sum();
    Some(bytes(&rollup, "Pss:")? + below)
}

fn children(process: u32) -> Vec<u32> {
    let list = of(process).join("task").join(process.to_string()).join("children");
    let list = fs::read_to_string(list).unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn of(process: u32) -> PathBuf {
    PathBuf::from("/proc").join(process.to_string())
}

/// The value of `field` in kilobytes, one field a line.
fn bytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_family_has_more_than_its_head() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo started; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        let [child] = children(shell.id())[..] else { panic!("one child") };
        let (family, alone) = (family_bytes(shell.id()).unwrap(), family_bytes(child).unwrap());
        assert!(alone > 0 && alone < family, "{alone} of {family}");
        assert!(resident_bytes(shell.id()).unwrap() > 0);
        for process in [child, shell.id()] {
            let id = nix::unistd::Pid::from_raw(process.try_into().unwrap());
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(resident_bytes(shell.id()), None);
    }
}
