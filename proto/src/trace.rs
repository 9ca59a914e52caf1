//! The ids of a run's spans. They follow from what a span is about, so that the process that knows
//! a part of a run can name the parent of its span, which another process sends.
//!
//! ```text
//! run                       trace id = run id
//! └─ attempt                one for each try at a task
//!    ├─ queue               from when the task could be taken until it was
//!    ├─ pick_up             until a container had it
//!    ├─ cell                until its last frame
//!    │  └─ connection       each one that left through the proxy
//!    └─ report              until a scheduler had recorded the end
//! ```

use domain::id::RunId;
use uuid::Uuid;

use crate::message::AttemptRef;

/// A part of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The attempt as a whole.
    Attempt,
    /// Waiting for a worker.
    Queue,
    /// Waiting for a container.
    PickUp,
    /// The container's work.
    Cell,
    /// Telling the schedulers.
    Report,
    /// A connection of the cell, by its place in the list.
    Connection(u32),
}

/// The trace of a run: its id.
#[must_use]
pub fn trace_id(run: RunId) -> u128 {
    run.uuid().as_u128()
}

/// The span of the run as a whole.
#[must_use]
pub fn run_span(run: RunId) -> u64 {
    span(run, "run")
}

/// The span of a part of an attempt.
#[must_use]
pub fn span_id(of: AttemptRef, part: Part) -> u64 {
    let AttemptRef { run, task, attempt } = of;
    let part = match part {
        Part::Attempt => "attempt".to_owned(),
        Part::Queue => "queue".to_owned(),
        Part::PickUp => "pick_up".to_owned(),
        Part::Cell => "cell".to_owned(),
        Part::Report => "report".to_owned(),
        Part::Connection(place) => format!("connection/{place}"),
    };
    span(run, &format!("{task}/{attempt}/{part}"))
}

/// The last half of a name-based UUID. Its variant bits keep it from being zero, which is no id.
fn span(run: RunId, name: &str) -> u64 {
    let (_, low) = Uuid::new_v5(&run.uuid(), name.as_bytes()).as_u64_pair();
    low
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_of_every_attempt_has_an_id_of_its_own_that_stays() {
        let run = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
        let parts = [
            Part::Attempt,
            Part::Queue,
            Part::PickUp,
            Part::Cell,
            Part::Report,
            Part::Connection(0),
        ];
        let mut ids = BTreeSet::from([run_span(run)]);
        for (task, attempt) in [(0, 1), (0, 2), (1, 1), (11, 1), (1, 11)] {
            ids.extend(parts.map(|part| span_id(AttemptRef { run, task, attempt }, part)));
        }
        assert_eq!(ids.len(), 1 + 5 * parts.len());
        // Processes of two releases send parts of one trace.
        assert_eq!(format!("{:016x}", run_span(run)), "896ba985e57e1172");
    }
}
