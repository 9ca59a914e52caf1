//! What a person reads at the end.

use std::fmt::Write as _;

use super::config::{Pace, shown};
use super::report::{Percentiles, Ratios, Report, TargetReport};
use super::sweep::SweepReport;

const LABEL_WIDTH: usize = 22;
const CELL_WIDTH: usize = 14;

/// One measurement, a column for each target and one for the ratio of two.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    if report.interrupted {
        text.push_str("interrupted; what follows is what was measured until then\n");
    }
    for target in &report.config.targets {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {} flow {}", target.label, shown(&target.url), target.flow);
    }
    let mut table = Table { text, report };
    table.heads();
    let open = matches!(report.config.pace, Pace::Open { .. });
    let stream = report.config.job.stream;
    let rows = ROWS.iter().filter(|row| match row.when {
        When::Always => true,
        When::Open => open,
        When::Stream => stream,
    });
    for row in rows {
        table.row(row);
    }
    let mut text = table.text;
    errors(&mut text, &report.targets);
    text
}

/// A figure of each target, and of both together.
struct Row {
    when: When,
    name: &'static str,
    cell: fn(&TargetReport) -> String,
    ratio: fn(&Ratios) -> Option<f64>,
}

enum When {
    Always,
    Open,
    Stream,
}

const ROWS: &[Row] = &[
    Row::new(When::Always, "runs ok", |t| t.runs.ok.to_string()),
    Row::new(When::Always, "runs failed", |t| t.runs.failed.to_string()),
    Row::new(When::Always, "  of them wrong", |t| t.runs.wrong.to_string()),
    Row::new(When::Open, "  of them unsent", |t| t.runs.unsent.to_string()),
    Row::new(When::Always, "measured s", |t| number(Some(t.elapsed_s))),
    Row::new(When::Open, "offered runs/s", |t| number(t.offered_per_s)),
    Row::new(When::Always, "achieved runs/s", |t| number(Some(t.achieved_per_s)))
        .compared(|r| r.throughput),
    Row::new(When::Always, "latency p50 ms", |t| number(t.latency_ms.map(|p| p.p50)))
        .compared(|r| r.p50),
    Row::new(When::Always, "latency p90 ms", |t| number(t.latency_ms.map(|p| p.p90))),
    Row::new(When::Always, "latency p95 ms", |t| number(t.latency_ms.map(|p| p.p95)))
        .compared(|r| r.p95),
    Row::new(When::Always, "latency p99 ms", |t| number(t.latency_ms.map(|p| p.p99)))
        .compared(|r| r.p99),
    Row::new(When::Always, "latency max ms", |t| number(t.latency_ms.map(|p| p.max))),
    Row::new(When::Stream, "first token p50 ms", |t| number(t.first_token_ms.map(|p| p.p50)))
        .compared(|r| r.first_token_p50),
    Row::new(When::Stream, "first token p95 ms", |t| number(t.first_token_ms.map(|p| p.p95))),
    Row::new(When::Stream, "streams without token", |t| t.runs.without_token.to_string()),
    Row::new(When::Always, "sent late p99 ms", |t| number(t.send_lag_ms.map(|p| p.p99))),
];

impl Row {
    const fn new(when: When, name: &'static str, cell: fn(&TargetReport) -> String) -> Self {
        Self { when, name, cell, ratio: |_| None }
    }

    const fn compared(self, ratio: fn(&Ratios) -> Option<f64>) -> Self {
        Self { when: self.when, name: self.name, cell: self.cell, ratio }
    }
}

struct Table<'a> {
    text: String,
    report: &'a Report,
}

impl Table<'_> {
    fn heads(&mut self) {
        let labels = self.report.targets.iter().map(|target| target.label.clone());
        let ratio = self.report.ratios.map(|_| "B / A".to_owned());
        let heads: Vec<String> = labels.chain(ratio).collect();
        line(&mut self.text, "", &heads);
    }

    fn row(&mut self, row: &Row) {
        let cells = self.report.targets.iter().map(row.cell);
        let ratio = self.report.ratios.as_ref().and_then(row.ratio).map(|r| number(Some(r)));
        let cells: Vec<String> = cells.chain(ratio).collect();
        line(&mut self.text, row.name, &cells);
    }
}

/// A sweep, a row for each step and target, and the knees.
pub(crate) fn sweep(sweep: &SweepReport) -> String {
    let mut text = String::new();
    let heads = ["runs/s", "p50 ms", "p95 ms", "p99 ms", "failed"].map(str::to_owned);
    line(&mut text, "callers", &heads);
    for step in &sweep.steps {
        let callers = match step.config.pace {
            Pace::Closed { concurrency } => concurrency.to_string(),
            Pace::Open { rate_per_s, .. } => format!("{rate_per_s}/s"),
        };
        for target in &step.targets {
            let latency =
                |pick: fn(&Percentiles) -> f64| number(target.latency_ms.as_ref().map(pick));
            let cells = [
                number(Some(target.achieved_per_s)),
                latency(|p| p.p50),
                latency(|p| p.p95),
                latency(|p| p.p99),
                target.runs.failed.to_string(),
            ];
            line(&mut text, &format!("{} {callers}", target.label), &cells);
        }
    }
    for knee in &sweep.knees {
        let _ = writeln!(
            text,
            "knee of {}: {} callers, {:.2} runs/s, p95 {} ms",
            knee.label,
            knee.concurrency,
            knee.achieved_per_s,
            number(knee.p95_ms)
        );
    }
    for step in &sweep.steps {
        errors(&mut text, &step.targets);
    }
    text
}

fn errors(text: &mut String, targets: &[TargetReport]) {
    for target in targets {
        for error in &target.errors {
            let example = error.example.replace('\n', " ");
            let _ = writeln!(
                text,
                "{}: {} × {}, e.g. {example}",
                target.label, error.count, error.class
            );
        }
    }
}

fn line(text: &mut String, label: &str, cells: &[String]) {
    let _ = write!(text, "{label:<LABEL_WIDTH$}");
    for cell in cells {
        let _ = write!(text, "{cell:>CELL_WIDTH$}");
    }
    text.push('\n');
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
