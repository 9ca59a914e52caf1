//! Counts what comes back from one target.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::outcome::{FailureClass, Sample};
use super::report::{ErrorReport, Percentiles, Runs, Second, TargetReport};

/// Highest latency told apart: the longest timeout. Later ones count as this.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Rows of the series; a day's measurement and its last answers fit.
const SECONDS_MAX: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Recorder {
    ok: Histogram<u64>,
    failed: Histogram<u64>,
    first_token: Histogram<u64>,
    send_lag: Histogram<u64>,
    runs: Runs,
    errors: BTreeMap<FailureClass, (u64, String)>,
    /// Time of the slices that are over.
    measured: Duration,
    /// Runs due and the time they were spread over, in open loops.
    offered: Option<(u64, Duration)>,
    series: Series,
}

/// The second being filled, and those that are full.
#[derive(Debug)]
struct Series {
    rows: Vec<Second>,
    second: u64,
    latency: Histogram<u64>,
    failed: u64,
}

impl Recorder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            ok: histogram()?,
            failed: histogram()?,
            first_token: histogram()?,
            send_lag: histogram()?,
            runs: Runs::default(),
            errors: BTreeMap::new(),
            measured: Duration::ZERO,
            offered: None,
            series: Series { rows: Vec::new(), second: 0, latency: histogram()?, failed: 0 },
        })
    }

    /// A run ended, this long after its slice began.
    pub(crate) fn finished(&mut self, into_slice: Duration, streamed: bool, sample: Sample) {
        self.series.advance(self.measured.saturating_add(into_slice).as_secs());
        let latency = micros(sample.latency);
        self.send_lag.saturating_record(micros(sample.send_lag));
        match sample.result {
            Ok(()) => {
                self.runs.ok += 1;
                self.ok.saturating_record(latency);
                self.series.latency.saturating_record(latency);
                match sample.first_token {
                    Some(wait) => self.first_token.saturating_record(micros(wait)),
                    None => self.runs.without_token += u64::from(streamed),
                }
            }
            Err(failure) => {
                self.runs.failed += 1;
                self.runs.wrong += u64::from(failure.class == FailureClass::Wrong);
                self.failed.saturating_record(latency);
                self.series.failed += 1;
                self.errors.entry(failure.class).or_insert((0, failure.example)).0 += 1;
            }
        }
    }

    /// A run was due and could not be sent.
    pub(crate) fn unsent(&mut self) {
        self.runs.failed += 1;
        self.runs.unsent += 1;
        let example = || (0, "too many earlier runs were unanswered".to_owned());
        self.errors.entry(FailureClass::Unsent).or_insert_with(example).0 += 1;
    }

    /// An open loop planned this many runs for this long.
    pub(crate) fn offered(&mut self, runs: u64, span: Duration) {
        let (all, time) = self.offered.unwrap_or_default();
        self.offered = Some((all.saturating_add(runs), time.saturating_add(span)));
    }

    /// A slice is over.
    pub(crate) fn slice_over(&mut self, lasted: Duration) {
        self.measured = self.measured.saturating_add(lasted);
    }

    pub(crate) fn report(&self, label: &str) -> TargetReport {
        let elapsed_s = self.measured.as_secs_f64();
        let offered_per_s = self.offered.map(|(runs, span)| rate(runs, span.as_secs_f64()));
        let mut errors: Vec<ErrorReport> = self
            .errors
            .iter()
            .map(|(class, (count, example))| ErrorReport {
                class: class.to_string(),
                count: *count,
                example: example.clone(),
            })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        TargetReport {
            label: label.to_owned(),
            runs: self.runs,
            elapsed_s,
            offered_per_s,
            achieved_per_s: rate(self.runs.ok, elapsed_s),
            latency_ms: percentiles(&self.ok),
            failed_latency_ms: percentiles(&self.failed),
            first_token_ms: percentiles(&self.first_token),
            send_lag_ms: percentiles(&self.send_lag),
            errors,
            series: self.series.rows(),
        }
    }
}

impl Series {
    /// Closes the seconds before this one. Workers reach the lock in any order, so a run of the
    /// second just closed counts in the next.
    fn advance(&mut self, second: u64) {
        while self.second < second.min(SECONDS_MAX) {
            self.rows.push(self.row());
            self.latency.reset();
            self.failed = 0;
            self.second += 1;
        }
    }

    fn row(&self) -> Second {
        let at = |quantile: f64| {
            (!self.latency.is_empty()).then(|| millis(self.latency.value_at_quantile(quantile)))
        };
        Second {
            second: self.second,
            ok: self.latency.len(),
            failed: self.failed,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
        }
    }

    fn rows(&self) -> Vec<Second> {
        let mut rows = self.rows.clone();
        if !self.latency.is_empty() || self.failed > 0 {
            rows.push(self.row());
        }
        rows
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).context("preparing a histogram")
}

pub(crate) fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    if histogram.is_empty() {
        return None;
    }
    let at = |quantile: f64| millis(histogram.value_at_quantile(quantile));
    Some(Percentiles {
        count: histogram.len(),
        mean: histogram.mean() / 1_000.0,
        min: millis(histogram.min()),
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        max: millis(histogram.max()),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

fn rate(runs: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { runs as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Recorder;
    use crate::load::outcome::{Failure, FailureClass, Sample};

    fn sample(ms: u64, result: Result<(), Failure>) -> Sample {
        Sample {
            latency: Duration::from_millis(ms),
            first_token: None,
            send_lag: Duration::ZERO,
            result,
        }
    }

    #[test]
    fn runs_are_counted_by_second_and_class() {
        let mut recorder = Recorder::new().unwrap();
        recorder.finished(Duration::from_millis(100), true, sample(10, Ok(())));
        recorder.slice_over(Duration::from_secs(1));
        for example in ["first", "second"] {
            let wrong = Err(Failure::new(FailureClass::Wrong, example));
            recorder.finished(Duration::from_millis(1_500), false, sample(20, wrong));
        }
        recorder.slice_over(Duration::from_secs(2));
        recorder.unsent();
        let report = recorder.report("A");
        assert_eq!((report.runs.ok, report.runs.failed, report.runs.wrong), (1, 3, 2));
        assert_eq!((report.runs.unsent, report.runs.without_token), (1, 1));
        assert!((report.elapsed_s - 3.0).abs() < 1e-9);
        let rows: Vec<_> = report.series.iter().map(|row| (row.ok, row.failed)).collect();
        assert_eq!(rows, [(1, 0), (0, 0), (0, 2)]);
        let errors: Vec<_> =
            report.errors.iter().map(|e| (e.class.as_str(), e.count, e.example.as_str())).collect();
        assert_eq!(errors[0], ("wrong answer", 2, "first"));
        let p50 = report.latency_ms.unwrap().p50;
        assert!((9.9..10.1).contains(&p50), "{p50}");
    }
}
