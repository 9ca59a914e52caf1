//! A token bucket. Pure: time is an argument.

use tokio::time::{Duration, Instant};

/// Holds at most one second's worth of tokens, and may owe some.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_s: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_s: f64, now: Instant) -> Self {
        Self { per_s, level: per_s, at: now }
    }

    /// Takes one token if there is a whole one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let enough = self.level >= 1.0;
        if enough {
            self.level -= 1.0;
        }
        enough
    }

    /// Takes what was used already, into debt if need be.
    pub(crate) fn charge(&mut self, tokens: f64, now: Instant) {
        self.fill(now);
        self.level -= tokens;
    }

    /// How long until nothing is owed.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        (self.level < 0.0).then(|| Duration::from_secs_f64(-self.level / self.per_s))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_s).min(self.per_s);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_with_time_and_are_not_hoarded() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(2.0, start);
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        assert!(!bucket.take(at(400)) && bucket.take(at(500)) && !bucket.take(at(500)));
        assert!(bucket.take(at(60_000)) && bucket.take(at(60_000)) && !bucket.take(at(60_000)));
        assert!(!bucket.take(at(0)), "time that goes back gives nothing");
    }

    #[test]
    fn debt_is_waited_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1_000.0, start);
        bucket.charge(1_000.0, start);
        assert_eq!(bucket.wait(start), None);
        bucket.charge(500.0, start);
        assert_eq!(bucket.wait(start), Some(Duration::from_millis(500)));
        assert_eq!(bucket.wait(start + Duration::from_millis(500)), None);
    }
}
