//! Times that several tasks record at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::{Percentiles, percentiles};

/// Longer times are recorded as this long.
const TIME_US_MAX: u64 = 3_600_000_000;

/// A histogram of times; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Times(Arc<Mutex<Histogram<u64>>>);

impl Times {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, TIME_US_MAX, 3)?;
        Ok(Self(Arc::new(Mutex::new(histogram))))
    }

    pub(crate) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(TIME_US_MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
    }

    /// What was recorded; nothing is left.
    pub(crate) fn take(&self) -> Option<Percentiles> {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = percentiles(&histogram);
        histogram.reset();
        taken
    }
}
