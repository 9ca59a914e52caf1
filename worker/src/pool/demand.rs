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
/// Where none has to wait, one does from this expectation on: a single task whose container takes
/// seconds to make keeps another one ready for the half minute in which its run's next may come.
const WORTH_ONE: f64 = 0.1;

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

    /// Whether nothing has arrived for so long that nothing of it matters any more.
    #[must_use]
    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.saturating_duration_since(at) > MEMORY * 5)
    }

    /// How many containers should wait, between the two; with none as the least, also none.
    #[must_use]
    pub fn target(&self, now: Instant, least: u32, most: u32) -> u32 {
        let expected = self.rate(now) * self.making.unwrap_or(0.0) * MARGIN;
        if least == 0 && expected < WORTH_ONE {
            return 0;
        }
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
    fn one_waits_for_the_next_task_of_a_run_and_not_much_longer() {
        let (mut demand, now) = (Demand::default(), Instant::now());
        demand.arrived(now);
        assert_eq!(demand.target(now, 0, 4), 0, "nothing is known yet");
        demand.made(Duration::from_secs(4));
        let after = |s| demand.target(now + Duration::from_secs(s), 0, 4);
        assert_eq!([0, 10, 25, 40].map(after), [1, 1, 1, 0]);
        // One that takes no time is made when it is asked for.
        let (mut demand, now) = (Demand::default(), Instant::now());
        demand.made(Duration::from_millis(100));
        demand.arrived(now);
        assert_eq!(demand.target(now, 0, 4), 0);
    }

    #[test]
    fn a_burst_is_forgotten() {
        let (demand, now) = steady(10, Duration::from_millis(500));
        assert_eq!(demand.target(now + Duration::from_secs(120), 1, 100), 1);
    }
}
