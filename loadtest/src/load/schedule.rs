//! When the runs of an open loop are due. Pure: a seed and a rate give the same moments always.

use std::time::Duration;

use super::config::Arrivals;
use crate::deterministic::SplitMix64;

/// The moments, counted from the start, without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate_per_s: f64,
    arrivals: Arrivals,
    random: SplitMix64,
    index: u64,
    last_s: f64,
}

impl Schedule {
    pub(crate) fn new(rate_per_s: f64, arrivals: Arrivals, seed: u64) -> Self {
        Self { rate_per_s, arrivals, random: SplitMix64::new(seed), index: 0, last_s: 0.0 }
    }

    /// Uniform runs begin at once. A Poisson process has no first arrival to begin with.
    pub(crate) fn next_due(&mut self) -> Duration {
        let seconds = match self.arrivals {
            Arrivals::Uniform => self.index as f64 / self.rate_per_s,
            Arrivals::Poisson => {
                // 1 - u is never zero, so the logarithm is finite.
                self.last_s - (1.0 - self.random.next_unit()).ln() / self.rate_per_s
            }
        };
        self.index += 1;
        self.last_s = seconds;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Schedule;
    use crate::load::config::Arrivals;

    fn moments(arrivals: Arrivals, seed: u64, count: usize) -> Vec<Duration> {
        let mut schedule = Schedule::new(100.0, arrivals, seed);
        (0..count).map(|_| schedule.next_due()).collect()
    }

    #[test]
    fn uniform_gaps_are_equal() {
        let ms: Vec<_> = moments(Arrivals::Uniform, 0, 4).iter().map(Duration::as_millis).collect();
        assert_eq!(ms, [0, 10, 20, 30]);
    }

    #[test]
    fn poisson_keeps_its_rate_order_and_seed() {
        let first = moments(Arrivals::Poisson, 7, 10_000);
        assert_eq!(first, moments(Arrivals::Poisson, 7, 10_000));
        assert_ne!(first, moments(Arrivals::Poisson, 8, 10_000));
        assert!(first.is_sorted());
        let last = first.last().unwrap().as_secs_f64();
        assert!((95.0..105.0).contains(&last), "10,000 runs at 100/s took {last} s");
        // The gaps of a Poisson process vary as much as they last.
        let gaps: Vec<f64> =
            first.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.9..1.1).contains(&(spread.sqrt() / mean)));
    }
}
