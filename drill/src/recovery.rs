//! How long the cluster needed after a fault.

use std::time::Duration;

use serde::Serialize;

use crate::time::Millis;

/// When a run was accepted and when it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) accepted: Millis,
    pub(crate) ended: Millis,
}

/// Measured from the end of what caused the fault. Faults may overlap, and then a later one is in
/// the figures of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Recovery {
    /// Until the next run ended.
    pub(crate) next_run_ms: Option<Millis>,
    /// Until every run had ended that was accepted before.
    pub(crate) settled_ms: Option<Millis>,
}

/// The recovery from a fault that was over then.
pub(crate) fn after(fault_over: Millis, runs: &[Span]) -> Recovery {
    let next = runs.iter().map(|run| run.ended).filter(|ended| *ended >= fault_over).min();
    let before = runs.iter().filter(|run| run.accepted <= fault_over);
    let last = before.map(|run| run.ended).max();
    Recovery {
        next_run_ms: next.map(|ended| ended - fault_over),
        settled_ms: last.map(|ended| (ended - fault_over).max(0)),
    }
}

/// Middle and largest of some durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median_ms: Millis,
    pub(crate) largest_ms: Millis,
}

impl Spread {
    pub(crate) fn of(durations: impl Iterator<Item = Millis>) -> Option<Self> {
        let mut sorted: Vec<Millis> = durations.collect();
        sorted.sort_unstable();
        let median_ms = *sorted.get(sorted.len() / 2)?;
        Some(Self { median_ms, largest_ms: *sorted.last()? })
    }
}

/// Seconds with one decimal, for people.
pub(crate) fn seconds(millis: Millis) -> String {
    let duration = Duration::from_millis(millis.unsigned_abs());
    format!("{:.1}", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_from_before_are_waited_for() {
        let run = |accepted, ended| Span { accepted, ended };
        let runs = [run(0, 90), run(50, 400), run(80, 130), run(150, 900)];
        let recovery = after(100, &runs);
        assert_eq!(recovery, Recovery { next_run_ms: Some(30), settled_ms: Some(300) });
        assert_eq!(after(1000, &runs).next_run_ms, None);
        assert_eq!(after(1000, &runs).settled_ms, Some(0), "all had ended already");
        assert_eq!(after(100, &[]), Recovery::default());
    }

    #[test]
    fn a_spread_needs_something_to_be_of() {
        assert_eq!(Spread::of([].into_iter()), None);
        let spread = Spread::of([9, 1, 5].into_iter());
        assert_eq!(spread, Some(Spread { median_ms: 5, largest_ms: 9 }));
    }
}
