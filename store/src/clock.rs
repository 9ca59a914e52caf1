//! The wall clock, for rows that only record when they were written.

use std::time::SystemTime;

use domain::time::Timestamp;

/// Now. Where a decision depends on time the caller hands it in instead.
pub(crate) fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
