//! The figures, as a table and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use worker::config::Backend;

use super::churn::Minute;
use super::cpu::Cpu;
use super::sleeping::Sleeping;

/// Everything that was measured.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) bare: Bare,
    pub(super) rows: Vec<Row>,
    pub(super) sleeping: Option<Sleeping>,
    pub(super) churn: Vec<Minute>,
}

impl Report {
    pub(super) fn new(bare: Bare) -> Self {
        Self { bare, rows: Vec::new(), sleeping: None, churn: Vec::new() }
    }
}

/// The component without isolation.
#[derive(Serialize, Deserialize)]
pub(super) struct Bare {
    pub(super) median_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// One backend.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) backend: Backend,
    /// In microseconds, as the next two.
    pub(super) pick_up: Histogram<u64>,
    pub(super) single: Histogram<u64>,
    pub(super) loaded: Histogram<u64>,
    /// Cells per second, one per round.
    pub(super) rates: Vec<f64>,
    /// Processor time per cell, one per round.
    pub(super) cpu: Vec<Cpu>,
    /// The most memory of a cell's control group before it has its task, and until its end, in MiB.
    pub(super) waiting: Vec<f64>,
    pub(super) running: Vec<f64>,
}

impl Row {
    pub(super) fn new(name: &str, backend: Backend) -> Self {
        let empty = || Histogram::new_with_max(3_600_000_000, 3).unwrap_or_else(|_| fallback());
        Self {
            name: name.to_owned(),
            backend,
            pick_up: empty(),
            single: empty(),
            loaded: empty(),
            rates: Vec::new(),
            cpu: Vec::new(),
            waiting: Vec::new(),
            running: Vec::new(),
        }
    }

    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    fn cpu(&self, part: impl Fn(&Cpu) -> f64) -> f64 {
        median(self.cpu.iter().map(part).collect())
    }
}

/// An auto-resizing histogram has no bounds that could be wrong.
fn fallback() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_max(2, 3).expect("2 and 3 are within the bounds");
    histogram.auto(true);
    histogram
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of at most an hour")]
    let micros = histogram.value_at_quantile(quantile) as f64;
    micros / 1_000.0
}

/// What isolation adds at each of the three quantiles.
fn added(histogram: &Histogram<u64>, bare: &Bare) -> String {
    let all = [(0.5, bare.median_ms), (0.95, bare.p95_ms), (0.99, bare.p99_ms)];
    let [a, b, c] = all.map(|(quantile, without)| ms(histogram, quantile) - without);
    format!("{a:.1}/{b:.1}/{c:.1}")
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backend", &self.name)?;
        let histograms =
            [("pick_up", &self.pick_up), ("single", &self.single), ("loaded", &self.loaded)];
        for (name, histogram) in histograms {
            for (label, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                map.serialize_entry(&format!("{name}_ms_{label}"), &ms(histogram, quantile))?;
            }
        }
        map.serialize_entry("cells_per_second", &self.rates)?;
        map.serialize_entry("cpu_ms_per_cell", &self.cpu)?;
        map.serialize_entry("waiting_mib", &median(self.waiting.clone()))?;
        map.serialize_entry("running_mib", &median(self.running.clone()))?;
        map.end()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = &self.bare;
        let [a, b, c] = [bare.median_ms, bare.p95_ms, bare.p99_ms];
        writeln!(f, "bare component: {a:.1}/{b:.1}/{c:.1} ms")?;
        writeln!(
            f,
            "{:8} {:>18} {:>20} {:>18} {:>20} {:>8} {:>14}   CPU-ms a cell: all (fork, cell, worker, launcher, rest)",
            "backend",
            "pick-up p50/95/99",
            "one caller p50/95/99",
            "added p50/95/99",
            "loaded p50/95/99",
            "cells/s",
            "MiB wait/run"
        )?;
        for row in &self.rows {
            let three = |histogram: &Histogram<u64>| {
                let [a, b, c] = [0.5, 0.95, 0.99].map(|quantile| ms(histogram, quantile));
                format!("{a:.1}/{b:.1}/{c:.1}")
            };
            writeln!(
                f,
                "{:8} {:>18} {:>20} {:>18} {:>20} {:>8.2} {:>14}   {:.0} ({:.0}, {:.0}, {:.0}, {:.0}, {:.0})",
                row.name,
                three(&row.pick_up),
                three(&row.single),
                added(&row.single, bare),
                three(&row.loaded),
                row.rate(),
                format!("{:.0}/{:.0}", median(row.waiting.clone()), median(row.running.clone())),
                row.cpu(|cpu| cpu.machine),
                row.cpu(|cpu| cpu.fork),
                row.cpu(|cpu| cpu.cells),
                row.cpu(|cpu| cpu.worker),
                row.cpu(|cpu| cpu.launcher),
                row.cpu(|cpu| cpu.rest),
            )?;
        }
        if let Some(sleeping) = &self.sleeping {
            writeln!(
                f,
                "{} cells asleep at once after {:.0} s: {:.1} MiB and {:.3} CPU-ms/s each",
                sleeping.cells,
                sleeping.seconds_to_start,
                sleeping.memory_bytes_each as f64 / 1_048_576.0,
                sleeping.cpu_ms_per_second_each
            )?;
        }
        Ok(())
    }
}
