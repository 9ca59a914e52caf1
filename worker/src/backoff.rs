//! Growing, jittered pauses between tries.

use std::time::Duration;

/// The pauses of one series of tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// The next pause: between half and all of a span that doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let span = self.next;
        self.next = span.saturating_mul(2).min(self.most);
        span.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        for most in [10, 20, 35, 35] {
            let pause = backoff.next();
            assert!(pause >= Duration::from_millis(most) / 2, "{pause:?}");
            assert!(pause <= Duration::from_millis(most), "{pause:?}");
        }
    }
}
