//! The same measurement at several concurrencies, and the knee: where more callers stopped giving
//! more runs.

use anyhow::ensure;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Config, Pace};
use super::measure::measure;
use super::report::Report;

/// A step counts as growth when it gives this much more than the best before it.
const GROWTH: f64 = 1.10;
/// More steps than a plot can show.
const STEPS_MAX: usize = 64;

/// What a sweep found.
#[derive(Debug, Clone, Serialize)]
pub struct SweepReport {
    /// One for each concurrency, in the order given.
    pub steps: Vec<Report>,
    /// One for each target.
    pub knees: Vec<Knee>,
}

/// The last step which grew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Knee {
    /// The target's label.
    pub label: String,
    /// How many callers.
    pub concurrency: usize,
    /// Good runs per second.
    pub achieved_per_s: f64,
    /// 95th percentile of latency there.
    pub p95_ms: Option<f64>,
}

/// Measures at each concurrency, which must rise. `config`'s own pace is not used.
pub async fn sweep(
    config: &Config,
    concurrencies: &[usize],
    stop: &CancellationToken,
) -> anyhow::Result<SweepReport> {
    check(concurrencies)?;
    let mut steps = Vec::new();
    for concurrency in concurrencies {
        if stop.is_cancelled() {
            break;
        }
        let pace = Pace::Closed { concurrency: *concurrency };
        steps.push(measure(&Config { pace, ..config.clone() }, stop).await?);
    }
    let knees = (0..config.targets.len()).filter_map(|target| knee(&steps, target)).collect();
    Ok(SweepReport { steps, knees })
}

pub(crate) fn check(concurrencies: &[usize]) -> anyhow::Result<()> {
    ensure!(
        (2..=STEPS_MAX).contains(&concurrencies.len()),
        "a sweep has 2 to {STEPS_MAX} steps, not {}",
        concurrencies.len()
    );
    ensure!(
        concurrencies.is_sorted_by(|before, after| before < after),
        "the steps of a sweep must rise"
    );
    Ok(())
}

fn knee(steps: &[Report], target: usize) -> Option<Knee> {
    let rates: Vec<f64> = steps
        .iter()
        .map(|step| step.targets.get(target).map_or(0.0, |report| report.achieved_per_s))
        .collect();
    let step = steps.get(last_growth(&rates)?)?;
    let report = step.targets.get(target)?;
    let Pace::Closed { concurrency } = step.config.pace else {
        return None;
    };
    Some(Knee {
        label: report.label.clone(),
        concurrency,
        achieved_per_s: report.achieved_per_s,
        p95_ms: report.latency_ms.map(|percentiles| percentiles.p95),
    })
}

/// Compared with the best before, not with the step before: on a noisy machine one bad step would
/// make the next look like growth.
fn last_growth(rates: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut highest = 0.0_f64;
    for (index, rate) in rates.iter().copied().enumerate() {
        if best.is_none() || rate >= highest * GROWTH {
            best = Some((index, rate));
        }
        highest = highest.max(rate);
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::{check, last_growth};

    #[test]
    fn the_knee_is_the_last_step_that_grew() {
        for (rates, expected) in [
            (&[10.0, 20.0, 39.0, 41.0, 40.0][..], Some(2)),
            (&[10.0, 20.0, 15.0, 19.0, 20.5], Some(1)),
            (&[10.0, 9.0, 20.0, 22.0], Some(3)),
            (&[10.0, 9.0, 8.0], Some(0)),
            (&[0.0, 0.0], Some(1)),
            (&[], None),
        ] {
            assert_eq!(last_growth(rates), expected, "{rates:?}");
        }
    }

    #[test]
    fn steps_must_rise() {
        assert!(check(&[1, 2, 4]).is_ok());
        assert!(check(&[1]).is_err());
        assert!(check(&[2, 2]).is_err());
    }
}
