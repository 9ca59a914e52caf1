//! The report for people, as Markdown.

use super::fairness::Fairness;
use super::history::History;
use super::recovery::Recovery;
use super::report::{Report, Step};
use super::soak::Soak;
use super::tokens::Streams;
use super::{runs, scaling};
use crate::load::Percentiles;

/// The parts that were measured, one table each.
pub(super) fn table(report: &Report) -> String {
    let mut parts = Vec::new();
    if !report.intake.is_empty() {
        parts.push(intake(&report.intake));
    }
    if !report.runs.is_empty() {
        parts.push(chains(&report.runs));
    }
    if !report.scaling.is_empty() {
        parts.push(workers(&report.scaling));
    }
    parts.extend(report.fairness.as_ref().map(tenants));
    if !report.tokens.is_empty() {
        parts.push(streams(&report.tokens));
    }
    parts.extend(report.recovery.as_ref().map(deaths));
    parts.extend(report.soak.as_ref().map(memory));
    parts.extend(report.history.as_ref().map(History::table));
    parts.join("\n")
}

fn intake(steps: &[Step]) -> String {
    let head = "## Intake\n| offered/s | acknowledged/s | p50 | p95 | p99 ms | failed |\n\
        |---:|---:|---:|---:|---:|---:|\n";
    let row = |step: &Step| {
        let latency = three(step.latency_ms.as_ref());
        format!("| {} | {:.0} | {latency} | {} |\n", step.at, step.achieved_per_s, step.failed)
    };
    head.to_owned() + &steps.iter().map(row).collect::<String>()
}

fn chains(steps: &[Step]) -> String {
    let cells = u32::try_from(runs::CELLS).unwrap_or(1);
    let head = format!(
        "## Runs of {cells} cells that do nothing\n| callers | runs/s | tasks/s | run p50 | p95 | \
         p99 ms | from task to task p50 | p95 | p99 ms | failed |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    let row = |step: &Step| {
        let (runs, tasks) = (step.achieved_per_s, step.achieved_per_s * f64::from(cells));
        let (whole, hop) = (three(step.latency_ms.as_ref()), three(step.hop_ms.as_ref()));
        format!("| {} | {runs:.1} | {tasks:.0} | {whole} | {hop} | {} |\n", step.at, step.failed)
    };
    head + &steps.iter().map(row).collect::<String>()
}

fn workers(steps: &[Step]) -> String {
    let head = "## Workers whose cells wait\n| workers | runs/s | of the ideal | failed |\n\
        |---:|---:|---:|---:|\n";
    let row = |step: &Step| {
        let share = 100.0 * step.achieved_per_s / scaling::ideal_per_s(step.at);
        let runs = step.achieved_per_s;
        format!("| {} | {runs:.1} | {share:.0} % | {} |\n", step.at, step.failed)
    };
    head.to_owned() + &steps.iter().map(row).collect::<String>()
}

fn tenants(found: &Fairness) -> String {
    let Fairness { backlog, idle, beside } = found;
    let (alone, crowded) = (three(Some(idle)), three(Some(beside)));
    let ratio = |of: fn(&Percentiles) -> f64| of(beside) / of(idle);
    let (p50, p95, p99) =
        (ratio(|times| times.p50), ratio(|times| times.p95), ratio(|times| times.p99));
    format!(
        "## One tenant beside {backlog} waiting runs of another\n| | p50 | p95 | p99 ms |\n\
         |---|---:|---:|---:|\n| idle cluster | {alone} |\n| beside the backlog | {crowded} |\n\
         | ratio | {p50:.2} | {p95:.2} | {p99:.2} |\n"
    )
}

fn streams(found: &[Streams]) -> String {
    let head =
        "## Tokens\n| streams | tokens/s | p50 | p95 | p99 ms |\n|---:|---:|---:|---:|---:|\n";
    let row = |streams: &Streams| {
        let latency = three(Some(&streams.latency_ms));
        format!("| {} | {:.0} | {latency} |\n", streams.runs, streams.tokens_per_s)
    };
    head.to_owned() + &found.iter().map(row).collect::<String>()
}

fn deaths(found: &Recovery) -> String {
    let times = &found.reassigned_ms;
    format!(
        "## Recovery\n{} workers died, holding {} tasks; a task was another worker's after {:.1} s \
         at the median, {:.1} s at most.\n",
        found.deaths,
        times.count,
        times.p50 / 1_000.0,
        times.max / 1_000.0
    )
}

fn memory(soak: &Soak) -> String {
    let runs = &soak.runs;
    let head = format!(
        "## Soak\n{:.0} s, {:.0} runs/s, {} failed\n\n| process | third quarter MiB | last quarter MiB | |\n\
         |---|---:|---:|---:|\n",
        soak.seconds, runs.achieved_per_s, runs.failed
    );
    let row = |(name, half, end): (String, u64, u64)| {
        let (half, end) = (mebibytes(half), mebibytes(end));
        let growth = 100.0 * (end / half - 1.0);
        format!("| {name} | {half:.1} | {end:.1} | {growth:+.1} % |\n")
    };
    head + &soak.second_half().into_iter().map(row).collect::<String>()
}

pub(super) fn three(times: Option<&Percentiles>) -> String {
    times.map_or_else(
        || "- | - | -".to_owned(),
        |times| format!("{:.1} | {:.1} | {:.1}", times.p50, times.p95, times.p99),
    )
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
