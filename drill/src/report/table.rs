//! The report on a terminal.

use std::fmt::Write;

use super::Report;
use crate::recovery::{Spread, seconds};

/// Broken promises can have thousands of examples.
const EXAMPLES_MAX: usize = 10;

/// Writing to a text cannot fail.
pub(super) fn write(report: &Report) -> String {
    let mut text = String::new();
    let counts = report.counts;
    let _ = writeln!(
        text,
        "\n{} faults in {} s (seed {}), {} runs, {} attempts of which {} were lost, {} executions counted",
        report.faults.len(),
        seconds(report.lasted_ms),
        report.seed,
        counts.runs,
        counts.attempts,
        counts.lost_attempts,
        counts.executions
    );
    for build in &report.builds {
        let _ = writeln!(text, "{build}");
    }
    let _ = writeln!(
        text,
        "\n{:<44} {:>3}  {:>15}  {:>15}",
        "seconds after a fault until", "", "the next run", "all before it"
    );
    let _ = writeln!(
        text,
        "{:<44} {:>3}  {:>15}  {:>15}",
        "", "n", "median  largest", "median  largest"
    );
    for kind in &report.kinds {
        let _ = writeln!(
            text,
            "{:<44} {:>3}  {:>15}  {:>15}",
            kind.name,
            kind.count,
            spread(kind.next_run),
            spread(kind.settled)
        );
    }
    text.push('\n');
    for left_out in &report.left_out {
        let _ = writeln!(text, "not made: {}: {}", left_out.name, left_out.why);
    }
    for (part, count) in &report.ended_by_themselves {
        let _ = writeln!(text, "{part} ended by itself {count} times and was started again");
    }
    text.push('\n');
    for check in &report.checks {
        let verdict = if check.broken.is_empty() { "ok  " } else { "FAIL" };
        let _ = writeln!(text, "{verdict}  {:>6}  {}", check.looked_at, check.promise);
        for broken in check.broken.iter().take(EXAMPLES_MAX) {
            let _ = writeln!(text, "              {broken}");
        }
        if let Some(more @ 1..) = check.broken.len().checked_sub(EXAMPLES_MAX) {
            let _ = writeln!(text, "              and {more} more");
        }
    }
    let verdict = if report.is_clean() { "clean" } else { "NOT CLEAN" };
    let _ = write!(text, "\nverdict: {verdict}");
    text
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!("{:>6} {:>8}", seconds(spread.median_ms), seconds(spread.largest_ms))
    })
}
