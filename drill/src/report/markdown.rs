//! The report as a page.

use std::fmt::Write;

use super::Report;
use crate::recovery::{Spread, seconds};

/// Writing to a text cannot fail.
pub(super) fn write(report: &Report) -> String {
    let mut text = String::new();
    let verdict = if report.is_clean() { "clean" } else { "**not clean**" };
    let _ = writeln!(
        text,
        "# `flowcell drill`: {verdict}\n\n\
         {} faults in {} minutes on {} processors, begun {}; seed {}, up to {} faults at once, {} runs a minute. {}.\n",
        report.faults.len(),
        minutes(report.lasted_ms),
        report.processors,
        report.began,
        report.seed,
        report.faults_at_once,
        report.runs_per_minute,
        report.builds.join("; "),
    );
    counts(&mut text, report);
    checks(&mut text, report);
    kinds(&mut text, report);
    faults(&mut text, report);
    text
}

fn counts(text: &mut String, report: &Report) {
    let counts = report.counts;
    let _ = writeln!(text, "| | |\n|---|---:|");
    for (name, count) in [
        ("runs", counts.runs.to_string()),
        ("submissions repeated because no answer came", counts.repeated_submissions.to_string()),
        ("reconnections of readers of live events", counts.reconnections.to_string()),
        ("attempts", counts.attempts.to_string()),
        ("attempts lost", counts.lost_attempts.to_string()),
        ("executions counted outside of the cluster", counts.executions.to_string()),
        (
            "runs whose log may have lost its beginning with the store of NATS",
            counts.logs_cut.to_string(),
        ),
    ] {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    for (part, count) in &report.ended_by_themselves {
        let _ = writeln!(text, "| {part} ended by itself and was started again | {count} |");
    }
}

fn checks(text: &mut String, report: &Report) {
    let _ = writeln!(text, "\n## Verdict\n| promise | looked at | broken |\n|---|---:|---:|");
    for check in &report.checks {
        let _ =
            writeln!(text, "| {} | {} | {} |", check.promise, check.looked_at, check.broken.len());
    }
    for check in report.checks.iter().filter(|check| !check.broken.is_empty()) {
        let _ = writeln!(text, "\nBroken: {}\n", check.promise);
        for broken in &check.broken {
            let _ = writeln!(text, "* {broken}");
        }
    }
}

fn kinds(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "\n## Recovery\nSeconds from the end of a fault's cause (a process was started again, a \
         connection passes bytes again) until the next run ended, and until every run had ended that \
         was accepted before. Faults overlap, so a later one is in the figures of an earlier one.\n\n\
         | fault | n | next run: median | largest | all before: median | largest |\n\
         |---|---:|---:|---:|---:|---:|"
    );
    for kind in &report.kinds {
        let (next, settled) = (spread(kind.next_run), spread(kind.settled));
        let _ = writeln!(text, "| {} | {} | {next} | {settled} |", kind.name, kind.count);
    }
    let _ = writeln!(text, "\nNot made:\n");
    for left_out in &report.left_out {
        let _ = writeln!(text, "* {}: {}", left_out.name, left_out.why);
    }
}

fn faults(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "\n## Faults\n| | at s | fault | of | lasted s | next run s | all before s |\n\
         |---:|---:|---|---|---:|---:|---:|"
    );
    for fault in &report.faults {
        let or_none = |millis: Option<i64>| millis.map_or_else(String::new, seconds);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            fault.number,
            seconds(fault.after_ms),
            fault.name,
            fault.target,
            seconds(fault.lasted_ms),
            or_none(fault.recovery.next_run_ms),
            or_none(fault.recovery.settled_ms)
        );
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || " | ".to_owned(),
        |spread| format!("{} | {}", seconds(spread.median_ms), seconds(spread.largest_ms)),
    )
}

#[expect(clippy::cast_precision_loss, reason = "a drill lasts hours at most")]
fn minutes(millis: i64) -> String {
    format!("{:.1}", millis as f64 / 60_000.0)
}
