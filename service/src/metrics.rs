//! Figures in Prometheus's sense: what every part builds its own from, and their text.
//!
//! A part has a struct of families, counts in it where things happen, and registers it once
//! (`expose`). Labels come from closed lists: states, kinds, route templates; never an id of a
//! tenant, a run or a container, and never text that a caller chose.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The content type of [`text()`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of every histogram of durations, in seconds: from a query to a slow cell.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Durations, by labels.
pub type Durations<Labels> = Family<Labels, Histogram>;

/// Durations that nothing was observed of yet.
#[must_use]
pub fn durations<Labels: Clone + std::hash::Hash + Eq>() -> Durations<Labels> {
    Family::new_with_constructor(seconds)
}

/// One histogram of durations.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// All figures of a process, in the form that Prometheus reads.
///
/// # Errors
/// When a collector fails; writing text does not.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn the_text_has_names_help_and_an_end() {
        let mut registry = Registry::default();
        let (runs, waits): (Counter, _) = (Counter::default(), seconds());
        registry.register("flowcell_runs_accepted", "Runs accepted", runs.clone());
        registry.register("flowcell_wait_seconds", "How long", waits.clone());
        runs.inc();
        waits.observe(0.3);
        let text = text(&registry).unwrap();
        for line in [
            "# HELP flowcell_runs_accepted Runs accepted.",
            "# TYPE flowcell_runs_accepted counter",
            "flowcell_runs_accepted_total 1",
            "flowcell_wait_seconds_bucket{le=\"0.25\"} 0",
            "flowcell_wait_seconds_bucket{le=\"0.5\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
