//! What of the machine is in use.

use std::fs;

/// Memory that is not available to others, in bytes.
pub(super) fn memory_used() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let used = of("MemTotal:").unwrap_or(0).saturating_sub(of("MemAvailable:").unwrap_or(0));
    used * 1024
}

/// Open descriptors of this process, which is the worker.
pub(super) fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
