//! Pictures of the figures.

use anyhow::Result;

use super::churn::Minute;
use super::report::{Report, Row};
use crate::plot::{Panel, Points, draw};

/// Quantiles of the latency of each backend, and the long run when there was one.
pub(super) fn picture(report: &Report) -> Result<String> {
    let quantiles = |pick: fn(&Row) -> &hdrhistogram::Histogram<u64>| {
        report.rows.iter().map(|row| (row.name.clone(), curve(pick(row)))).collect()
    };
    let mut panels = Vec::new();
    if report.rows.iter().any(|row| !row.rates.is_empty()) {
        let (single, loaded) = (quantiles(|row| &row.single), quantiles(|row| &row.loaded));
        panels.push(Panel::new("one caller: ms at quantile", "%", single, Vec::new()));
        panels.push(Panel::new("under load: ms at quantile", "%", loaded, Vec::new()));
    }
    if !report.churn.is_empty() {
        let line = |name: &str, pick: fn(&Minute) -> f64| {
            let points = report.churn.iter().map(|m| (f64::from(m.minute), pick(m))).collect();
            (name.to_owned(), points)
        };
        let latency = vec![line("p50", |m| m.p50_ms), line("p99", |m| m.p99_ms)];
        let held = vec![
            line("memory, MiB / 10", |m| float(m.memory_bytes) / 1_048_576.0 / 10.0),
            line("descriptors", |m| float(m.open_files as u64)),
            line("slots", |m| float(m.slots)),
        ];
        panels.push(Panel::new("steady rate: latency, ms", "minutes", latency, Vec::new()));
        panels.push(Panel::new("steady rate: what is held", "minutes", held, Vec::new()));
    }
    draw(&panels)
}

fn curve(histogram: &hdrhistogram::Histogram<u64>) -> Points {
    (1..100_u32)
        .map(|percent| {
            let micros = histogram.value_at_quantile(f64::from(percent) / 100.0);
            (f64::from(percent), float(micros) / 1_000.0)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
