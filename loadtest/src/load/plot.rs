//! Pictures of a measurement.

use super::config::Pace;
use super::report::{Report, Second, TargetReport};
use super::sweep::SweepReport;
use crate::plot::{Panel, draw};

/// Latency percentiles and throughput over time.
pub(crate) fn report(report: &Report) -> anyhow::Result<String> {
    let mut latency = Vec::new();
    let mut throughput = Vec::new();
    for target in &report.targets {
        let rows = whole_seconds(target);
        let percentile = |name: &str, pick: fn(&Second) -> Option<f64>| {
            let points =
                rows.iter().filter_map(|row| Some((row.second as f64, pick(row)?))).collect();
            (format!("{} {name}", target.label), points)
        };
        latency.push(percentile("p50", |row| row.p50_ms));
        latency.push(percentile("p95", |row| row.p95_ms));
        latency.push(percentile("p99", |row| row.p99_ms));
        let count = |name: &str, pick: fn(&Second) -> u64| {
            let points = rows.iter().map(|row| (row.second as f64, pick(row) as f64)).collect();
            (format!("{} {name}", target.label), points)
        };
        throughput.push(count("ok", |row| row.ok));
        if target.runs.failed > 0 {
            throughput.push(count("failed", |row| row.failed));
        }
    }
    draw(&[
        Panel::new("latency, ms", "seconds", latency, Vec::new()),
        Panel::new("runs per second", "seconds", throughput, Vec::new()),
    ])
}

/// Throughput and latency against the number of callers, with the knees.
pub(crate) fn sweep(sweep: &SweepReport) -> anyhow::Result<String> {
    let mut latency = Vec::new();
    let mut throughput = Vec::new();
    for (index, knee) in sweep.knees.iter().enumerate() {
        let line = |name: &str, pick: fn(&TargetReport) -> Option<f64>| {
            let points = sweep.steps.iter().filter_map(|step| {
                let Pace::Closed { concurrency } = step.config.pace else {
                    return None;
                };
                Some((concurrency as f64, pick(step.targets.get(index)?)?))
            });
            (format!("{} {name}", knee.label), points.collect())
        };
        throughput.push(line("runs/s", |target| Some(target.achieved_per_s)));
        latency.push(line("p50", |target| Some(target.latency_ms?.p50)));
        latency.push(line("p95", |target| Some(target.latency_ms?.p95)));
    }
    let marks: Vec<f64> = sweep.knees.iter().map(|knee| knee.concurrency as f64).collect();
    draw(&[
        Panel::new("runs per second (the knee is marked)", "callers", throughput, marks.clone()),
        Panel::new("latency, ms", "callers", latency, marks),
    ])
}

/// Without the last second, which is a part of one and would look like a collapse.
fn whole_seconds(target: &TargetReport) -> &[Second] {
    match target.series.as_slice() {
        [first @ .., _] if first.len() > 1 => first,
        all => all,
    }
}
