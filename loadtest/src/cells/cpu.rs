//! Processor time, by who spent it. From `/proc`, in hundredths of a second.

use std::collections::HashMap;
use std::fs;

use serde::Serialize;

/// Processor time per cell, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cpu {
    /// The whole machine.
    pub(super) machine: f64,
    /// The zygotes themselves: forking.
    pub(super) fork: f64,
    /// Children of zygotes, from fork to end: touching pages, running, going. Of `warm` cells
    /// nothing is seen here: their parent is the engine's.
    pub(super) cells: f64,
    /// This process, which is the worker.
    pub(super) worker: f64,
    /// Launchers and what they start.
    pub(super) launcher: f64,
    /// All others: the engine, its shims and its runtime, and the kernel's threads.
    pub(super) rest: f64,
}

/// Processor time so far.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    machine: f64,
    processes: HashMap<u32, (Part, Spent)>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Zygote,
    Launcher,
    Worker,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    own: f64,
    /// By children that have ended.
    children: f64,
}

/// `USER_HZ` is 100 on every Linux that Rust knows.
const TICK_MS: f64 = 10.0;

impl Reading {
    /// Now.
    pub(super) fn take() -> Self {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = processes.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, (part(pid)?, spent(pid)?)))
        });
        Self { machine: machine(), processes: processes.collect() }
    }

    /// What was spent since `before`, divided by a number of cells. Processes that came or went in
    /// between count as `rest`.
    pub(super) fn since(&self, before: &Self, cells: f64) -> Cpu {
        let mut cpu = Cpu { machine: (self.machine - before.machine) / cells, ..Cpu::default() };
        for (pid, (part, now)) in &self.processes {
            let Some((_, then)) = before.processes.get(pid) else { continue };
            let own = (now.own - then.own) / cells;
            let children = (now.children - then.children) / cells;
            match part {
                Part::Zygote => {
                    cpu.fork += own;
                    cpu.cells += children;
                }
                Part::Launcher => cpu.launcher += own + children,
                Part::Worker => cpu.worker += own,
            }
        }
        cpu.rest = (cpu.machine - cpu.fork - cpu.cells - cpu.worker - cpu.launcher).max(0.0);
        cpu
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

/// Which part a process plays. Children of zygotes have the same command line, and a cell's user.
fn part(pid: u32) -> Option<Part> {
    if pid == std::process::id() {
        return Some(Part::Worker);
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|byte| *byte == 0);
    let part = if arguments.clone().any(|argument| argument == b"flowcell_runner.zygote") {
        Part::Zygote
    } else if arguments.next()?.ends_with(b"flowcell-cell") && arguments.next()? == b"launch" {
        Part::Launcher
    } else {
        return None;
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.contains("\nUid:\t0\t").then_some(part)
}

fn spent(pid: u32) -> Option<Spent> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    let fields: Vec<f64> = after.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let at = |index: usize| fields.get(index).copied().unwrap_or(0.0) * TICK_MS;
    Some(Spent { own: at(11) + at(12), children: at(13) + at(14) })
}
