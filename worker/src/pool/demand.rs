//! How many containers should wait: enough for the tasks that arrive while one is being made.
//!
//! By Little's law that is arrivals per second times seconds to make one. Both are averages that
//! forget, so that a burst of yesterday keeps nothing ready today.

use std::time::{Duration, Instant};

/// Arrivals are forgotten with this time constant: long enough to see a steady trickle, short
/// enough to follow a burst.
const MEMORY: Duration = Duration::from_secs(20);
/// Twice the expected number: arrivals come in clumps.
const MARGIN: f64 = 2.0;
/// Weight of the newest container's making time.
const NEWEST: f64 = 0.2;

/// What is known of one image's arrivals and refills.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    /// Arrivals per second, as of `at`.
    rate: f64,
    at: Option<Instant>,
    /// Seconds that making a container takes.
    making: Option<f64>,
}

impl Demand {
    /// A task asked for a container.
    pub fn arrived(&mut self, now: Instant) {
        self.rate = self.rate(now) + 1.0 / MEMORY.as_secs_f64();
        self.at = Some(now);
    }

    /// A container was made.
    pub fn made(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.making = Some(self.making.map_or(took, |before| before + NEWEST * (took - before)));
    }

    /// Arrivals per second.
    #[must_use]
    pub fn rate(&self, now: Instant) -> f64 {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.rate * (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }

    /// How many containers should wait, between the two.
    #[must_use]
    pub fn target(&self, now: Instant, least: u32, most: u32) -> u32 {
        let expected = self.rate(now) * self.making.unwrap_or(0.0) * MARGIN;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and neither factor is negative"
        )]
        let expected = expected.ceil() as u32;
        expected.clamp(least, most.max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(per_second: u32, making: Duration) -> (Demand, Instant) {
        let (mut demand, mut now) = (Demand::default(), Instant::now());
        for _ in 0..per_second * 120 {
            now += Duration::from_secs(1) / per_second;
            demand.arrived(now);
            demand.made(making);
        }
        (demand, now)
    }

    #[test]
    fn nothing_asked_is_the_least() {
        assert_eq!(Demand::default().target(Instant::now(), 4, 32), 4);
    }

    #[test]
    fn what_arrives_while_one_is_made_is_kept_ready_twice() {
        let (demand, now) = steady(10, Duration::from_millis(500));
        let rate = demand.rate(now);
        assert!((9.0..11.0).contains(&rate), "{rate}");
        assert!((9..=11).contains(&demand.target(now, 1, 100)));
        assert_eq!(demand.target(now, 1, 4), 4);
    }

    #[test]
    fn a_burst_is_forgotten() {
        let (demand, now) = steady(10, Duration::from_millis(500));
        assert_eq!(demand.target(now + Duration::from_secs(120), 1, 100), 1);
    }
}
