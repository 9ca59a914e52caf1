//! The clock of what is written into the database and compared with it: leases, deadlines, delays.
//!
//! On Postgres it is the database's ([ADR 0025](../../docs/adr/0025-the-clock-is-the-databases.md)):
//! processes on many hosts agree about what is over, and a host whose clock jumps ends nothing. It is
//! read now and then; in between it goes on with the host's monotonic clock, which nothing sets.
//! On SQLite there is one process, and its wall clock is used.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use domain::time::Timestamp;
use uuid::{ContextV7, Uuid};

/// How often the database's clock is read. Quartz is off by less than a millisecond in this time; a
/// host that slept has the right time again after it.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(5);

/// A correction of more than this is told: the database's clock was set, or this host slept.
const TOLD_ABOVE: Duration = Duration::from_secs(1);

/// Nobody has read a database's clock.
const UNSET: i64 = i64::MIN;

/// Where the monotonic clock is counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the database's clock said at `START`, in milliseconds. One per process, as the wall clock is
/// that it stands for.
static AT_START: AtomicI64 = AtomicI64::new(UNSET);

/// Keeps ids of one process in their order also within a millisecond.
static IDS: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Now, for rows that record when they were written and for whoever hands the time in.
#[must_use]
pub fn now() -> Timestamp {
    at(Instant::now()).unwrap_or_else(|| SystemTime::now().into())
}

/// An id that sorts by the time it was made at, whichever process made it (UUIDv7).
#[must_use]
pub fn id_in_order() -> Uuid {
    let since_epoch = now().since(Timestamp(0));
    let context = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos))
}

/// What the clock of a database said, between two points in time of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) said: Timestamp,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// Goes by this reading from now on.
pub(crate) fn set(reading: Reading) {
    let before = at(reading.answered);
    let right = corrected(before, reading);
    let since_start = reading.answered.saturating_duration_since(*START);
    AT_START.store((right - since_start).millis(), Ordering::Relaxed);
    let moved =
        before.map_or(Duration::ZERO, |before| before.since(right).max(right.since(before)));
    if moved > TOLD_ABOVE {
        tracing::warn!(
            moved_ms = moved.as_millis(),
            "the time has jumped: the database's clock was set, or this host slept"
        );
    }
}

fn at(point: Instant) -> Option<Timestamp> {
    let at_start = AT_START.load(Ordering::Relaxed);
    let since_start = point.saturating_duration_since(*START);
    (at_start != UNSET).then(|| Timestamp(at_start) + since_start)
}

/// The time at which the answer came. It is no earlier than what the answer says, and later by the
/// time that the question took at most; a clock that is between them is not touched, so that a slow
/// answer moves nothing.
fn corrected(now: Option<Timestamp>, reading: Reading) -> Timestamp {
    let took = reading.answered.saturating_duration_since(reading.asked);
    let latest = reading.said + took;
    now.map_or(reading.said + took / 2, |now| now.clamp(reading.said, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_moved_only_as_far_as_it_is_certainly_wrong() {
        let asked = Instant::now();
        let answered = asked + Duration::from_millis(100);
        let reading = Reading { said: Timestamp(5_000), asked, answered };
        assert_eq!(corrected(None, reading), Timestamp(5_050), "the first one");
        for (now, right) in [(5_000, 5_000), (5_099, 5_099), (1_400, 5_000), (3_605_000, 5_100)] {
            assert_eq!(corrected(Some(Timestamp(now)), reading), Timestamp(right), "{now}");
        }
    }

    #[test]
    fn the_time_is_the_databases_from_its_first_reading_on() {
        let long_ago = Timestamp(1_000_000);
        let at = Instant::now();
        set(Reading { said: long_ago, asked: at, answered: at });
        let now = now();
        assert!(now >= long_ago && now.since(long_ago) < Duration::from_mins(10), "{now}");
        let (first, second) = (id_in_order(), id_in_order());
        assert!(first < second);
        let (seconds, _) = first.get_timestamp().unwrap().to_unix();
        assert!(seconds < 2_000, "{seconds}");
    }
}
