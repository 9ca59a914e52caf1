//! One transition of one run, as the scheduler hands it over.

use std::collections::BTreeMap;

use domain::id::RunId;
use domain::run::{Event, Run};
use domain::time::Timestamp;
use proto::frame::CellResult;
use proto::message::Figures;
use serde_json::Value;

use super::OutboxMessage;
use super::human::Asked;
use crate::error::Error;

/// What one decision changes: written in one transaction, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The version that was loaded; another one in the database is a conflict.
    pub expected_version: u64,
    /// The run after the events.
    pub after: Run,
    /// What happened.
    pub events: Vec<Event>,
    /// Results of tasks.
    pub results: Vec<TaskResult>,
    /// What a person is asked.
    pub asked: Option<Asked>,
    /// What became known of attempts: their container, what they took.
    pub figures: Vec<AttemptFigures>,
    /// The branch decisions, when they changed.
    pub operations: Option<Value>,
    /// The run's shared context, when it changed.
    pub context: Option<Value>,
    /// The plan that the run follows from here on, when it changed.
    pub plan: Option<Value>,
    /// The queue of its tasks.
    pub queue: String,
    /// The queues of those that have another one.
    pub queues: BTreeMap<u32, String>,
    /// Their priority.
    pub priority: i32,
    /// What has to be said because of it.
    pub outbox: Vec<OutboxMessage>,
    /// Now.
    pub now: Timestamp,
}

/// The result of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub task: u32,
    /// Its result.
    pub result: CellResult,
}

/// What became known of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptFigures {
    /// The task.
    pub task: u32,
    /// The attempt, 1-based.
    pub attempt: u32,
    /// The container's id; `None` leaves what is stored.
    pub container: Option<String>,
    /// What it took; `None` leaves what is stored.
    pub figures: Option<Figures>,
}

/// What became of each transition of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Written.
    Committed,
    /// Another process changed the run first; nothing of this transition was written.
    VersionConflict,
}

impl Transition {
    /// A transition that changes the run and nothing else yet.
    #[must_use]
    pub fn new(expected_version: u64, after: Run, events: Vec<Event>, now: Timestamp) -> Self {
        Self {
            expected_version,
            after,
            events,
            results: Vec::new(),
            asked: None,
            figures: Vec::new(),
            operations: None,
            context: None,
            plan: None,
            queue: String::new(),
            queues: BTreeMap::new(),
            priority: 0,
            outbox: Vec::new(),
            now,
        }
    }

    /// The run it is about.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.after.id
    }
}

impl super::Engine {
    /// Writes a transition, all of it or nothing.
    ///
    /// # Errors
    /// [`Error::VersionConflict`] when another process changed the run first.
    pub async fn commit(&self, transition: Transition) -> Result<(), Error> {
        match self.commit_batch(vec![transition]).await?.first() {
            Some(BatchOutcome::Committed) => Ok(()),
            Some(BatchOutcome::VersionConflict) | None => Err(Error::VersionConflict),
        }
    }
}
