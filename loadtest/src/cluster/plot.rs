//! Pictures of the figures.

use std::collections::BTreeMap;

use anyhow::Result;

use super::report::{Report, Step};
use super::soak::Soak;
use super::table::mebibytes;
use crate::load::Percentiles;
use crate::plot::{Panel, Points, draw};

/// Every series that was measured.
pub(super) fn picture(report: &Report) -> Result<String> {
    let mut panels = Vec::new();
    if !report.intake.is_empty() {
        let achieved = line("acknowledged/s", &report.intake, |step| Some(step.achieved_per_s));
        panels.push(Panel::new("intake: runs/s", "offered/s", vec![achieved], Vec::new()));
        let latency = latency(&report.intake, |step| step.latency_ms);
        panels.push(Panel::new("intake: acknowledged after, ms", "offered/s", latency, Vec::new()));
    }
    if !report.runs.is_empty() {
        let achieved = line("runs/s", &report.runs, |step| Some(step.achieved_per_s));
        panels.push(Panel::new("chain: runs/s", "callers", vec![achieved], Vec::new()));
        let hops = latency(&report.runs, |step| step.hop_ms);
        panels.push(Panel::new("chain: from task to task, ms", "callers", hops, Vec::new()));
    }
    if !report.scaling.is_empty() {
        let achieved = line("runs/s", &report.scaling, |step| Some(step.achieved_per_s));
        panels.push(Panel::new("waiting cells: runs/s", "workers", vec![achieved], Vec::new()));
    }
    if let Some(soak) = &report.soak {
        panels.push(Panel::new("soak: resident MiB", "seconds", memory(soak), Vec::new()));
    }
    draw(&panels)
}

fn line(name: &str, steps: &[Step], pick: fn(&Step) -> Option<f64>) -> (String, Points) {
    let points = steps.iter().filter_map(|step| Some((step.at, pick(step)?))).collect();
    (name.to_owned(), points)
}

fn latency(steps: &[Step], pick: fn(&Step) -> Option<Percentiles>) -> Vec<(String, Points)> {
    let one = |name: &str, of: fn(&Percentiles) -> f64| {
        let points = steps.iter().filter_map(|step| Some((step.at, of(&pick(step)?))));
        (name.to_owned(), points.collect())
    };
    vec![
        one("p50", |times| times.p50),
        one("p95", |times| times.p95),
        one("p99", |times| times.p99),
    ]
}

fn memory(soak: &Soak) -> Vec<(String, Points)> {
    let mut lines: BTreeMap<String, Points> = BTreeMap::new();
    for sample in &soak.samples {
        for (name, bytes) in &sample.resident_bytes {
            lines.entry(name.clone()).or_default().push((sample.second, mebibytes(*bytes)));
        }
    }
    lines.into_iter().collect()
}
