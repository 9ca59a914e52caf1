//! The wall clock of what is written into the database.

use std::time::SystemTime;

use domain::time::Timestamp;

/// Now, for rows that record when they were written and for whoever hands the time in.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}
