//! Processor time, by who spent it. From `/proc`, in hundredths of a second.

use std::fs;

use serde::Serialize;

/// Processor time so far, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cpu {
    /// The whole machine.
    pub(super) machine: f64,
    /// The container engine's daemons.
    pub(super) engine: f64,
    /// The zygotes themselves: forking.
    pub(super) fork: f64,
    /// The children of zygotes that have ended: running cells.
    pub(super) run: f64,
}

/// `USER_HZ` is 100 on every Linux that Rust knows.
const TICK_MS: f64 = 10.0;

impl Cpu {
    /// Now.
    pub(super) fn now() -> Self {
        let mut cpu = Self { machine: machine(), ..Self::default() };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
                continue;
            };
            let Some((command, own, children)) = process(pid) else { continue };
            if command == "dockerd" || command == "containerd" {
                cpu.engine += own;
            } else if is_zygote(pid) {
                cpu.fork += own;
                cpu.run += children;
            }
        }
        cpu
    }

    /// What was spent since `before`, divided by a number of cells.
    pub(super) fn since(self, before: Self, cells: f64) -> Self {
        let each = |now: f64, then: f64| (now - then).max(0.0) / cells;
        Self {
            machine: each(self.machine, before.machine),
            engine: each(self.engine, before.engine),
            fork: each(self.fork, before.fork),
            run: each(self.run, before.run),
        }
    }
}

/// Everything but idle and waiting for disks.
fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    // Time of guests is counted in that of users already.
    (ticks.iter().take(8).sum::<f64>() - idle) * TICK_MS
}

/// Name, own time and time of ended children.
fn process(pid: &str) -> Option<(String, f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = text.rsplit_once(')')?;
    let command = before.split_once('(')?.1.to_owned();
    let fields: Vec<f64> = after.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let at = |index: usize| fields.get(index).copied().unwrap_or(0.0) * TICK_MS;
    Some((command, at(11) + at(12), at(13) + at(14)))
}

/// A zygote, and none of its children: those have the cell's user.
fn is_zygote(pid: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    line.windows(6).any(|part| part == b"zygote") && status.contains("\nUid:\t0\t")
}
