//! What to measure. Serialized into the report, keys excepted.

use std::time::Duration;

use anyhow::ensure;
use reqwest::Url;
use serde::{Serialize, Serializer};

use crate::ApiKey;

/// Callers or runs in flight; more sockets than one machine should open.
pub(crate) const CONCURRENCY_MAX: usize = 10_000;
/// Runs per second; the timer that paces them ticks every millisecond.
const RATE_MAX: f64 = 100_000.0;
/// A longer measurement would outgrow its per-second series.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Latencies are recorded up to an hour, so a run may not take longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// Parts of a comparison.
const SLICES_MAX: u32 = 1_000;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// One target, or two to compare.
    pub targets: Vec<Target>,
    /// What to ask of them.
    pub job: Job,
    /// How fast.
    pub pace: Pace,
    /// How long, for each target.
    pub bound: Bound,
    /// With two targets, in how many parts each one's time is cut; they take turns, A B B A.
    pub slices: u32,
}

/// Whom to ask.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// `A` or `B`.
    pub label: String,
    /// The base, to which `/api/v1/run/{flow}` is added.
    #[serde(serialize_with = "url_text")]
    pub url: Url,
    /// Sent as `x-api-key`.
    #[serde(skip)]
    pub api_key: Option<ApiKey>,
    /// The flow's id or endpoint name.
    pub flow: String,
}

/// What to ask.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// The chat message.
    pub input: String,
    /// Ask for a stream of events.
    pub stream: bool,
    /// Only have it acknowledged: the run is durable, and its answer is not waited for.
    pub accept: bool,
    /// A text every answer must contain.
    pub expect: Option<String>,
    /// How long a run may take before it counts as failed.
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub timeout: Duration,
}

/// When to send the next run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
pub enum Pace {
    /// When an earlier one is answered.
    Closed {
        /// How many callers do so at once.
        concurrency: usize,
    },
    /// By schedule, whatever became of earlier ones.
    Open {
        /// Runs due per second.
        rate_per_s: f64,
        /// How they are spread.
        arrivals: Arrivals,
        /// Fixes the spread.
        seed: u64,
        /// Runs unanswered at once; beyond it sending waits (and latency counts on).
        in_flight_max: usize,
    },
}

/// How runs are spread in an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// As independent callers come: exponential gaps.
    Poisson,
    /// Equal gaps.
    Uniform,
}

/// When to stop. At least one of the two is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Runs.
    pub runs: Option<u64>,
    /// Time.
    #[serde(rename = "duration_s", serialize_with = "optional_seconds")]
    pub duration: Option<Duration>,
}

impl Config {
    /// Refuses what could not be measured.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=2).contains(&self.targets.len()), "there is one target, or two to compare");
        for target in &self.targets {
            ensure!(
                matches!(target.url.scheme(), "http" | "https") && target.url.has_host(),
                "{} is not an http address",
                target.url
            );
            ensure!(!target.flow.is_empty(), "the flow has no name");
        }
        ensure!(
            !self.job.timeout.is_zero() && self.job.timeout <= TIMEOUT_MAX,
            "the timeout must be above zero and at most an hour"
        );
        ensure!(self.job.expect.as_deref() != Some(""), "the expected text is empty");
        ensure!((1..=SLICES_MAX).contains(&self.slices), "slices must be 1 to {SLICES_MAX}");
        self.bound.check(if self.targets.len() == 2 { self.slices } else { 1 })?;
        self.pace.check()
    }
}

impl Bound {
    fn check(self, slices: u32) -> anyhow::Result<()> {
        ensure!(
            self.runs.is_some() || self.duration.is_some(),
            "a number of runs or a duration is needed"
        );
        if let Some(runs) = self.runs {
            ensure!(runs >= u64::from(slices), "{runs} runs are less than one for each slice");
        }
        if let Some(duration) = self.duration {
            ensure!(
                !duration.is_zero() && duration <= DURATION_MAX,
                "the duration must be above zero and at most a day"
            );
        }
        Ok(())
    }

    /// The share of one slice of several; earlier slices take the odd runs.
    pub(crate) fn slice(self, index: u32, slices: u32) -> Self {
        let (index, count) = (u64::from(index), u64::from(slices.max(1)));
        Self {
            runs: self.runs.map(|runs| runs / count + u64::from(index < runs % count)),
            duration: self.duration.map(|duration| duration / slices.max(1)),
        }
    }
}

impl Pace {
    fn check(self) -> anyhow::Result<()> {
        match self {
            Pace::Closed { concurrency } => ensure!(
                (1..=CONCURRENCY_MAX).contains(&concurrency),
                "concurrency must be 1 to {CONCURRENCY_MAX}"
            ),
            Pace::Open { rate_per_s, in_flight_max, .. } => {
                ensure!(
                    rate_per_s > 0.0 && rate_per_s <= RATE_MAX,
                    "the rate must be above 0 and at most {RATE_MAX} runs/s"
                );
                ensure!(
                    (1..=CONCURRENCY_MAX).contains(&in_flight_max),
                    "runs in flight must be 1 to {CONCURRENCY_MAX}"
                );
            }
        }
        Ok(())
    }
}

/// Reads `500ms`, `30s`, `2m`, `1h`, or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a duration"))?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => {
            return Err(format!("{unit:?} is not a unit of time; ms, s, m and h are"));
        }
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn url_text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(url))
}

/// The address without a password, which is a secret too.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() && shown.set_password(Some("hidden")).is_err() {
        return "hidden".to_owned();
    }
    shown.into()
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bound, parse_duration};

    #[test]
    fn durations_are_read() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("2", 2_000), ("1.5m", 90_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["", "s", "3 s", "4d", "1.2.3"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn slices_add_up() {
        let bound = Bound { runs: Some(10), duration: Some(Duration::from_secs(8)) };
        let runs: Vec<_> = (0..4).filter_map(|index| bound.slice(index, 4).runs).collect();
        assert_eq!(runs, [3, 3, 2, 2]);
        assert_eq!(bound.slice(0, 4).duration, Some(Duration::from_secs(2)));
    }
}
