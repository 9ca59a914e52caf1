//! The event log of a run: what happened, in order, for people and programs that follow it.
//!
//! Its sequence numbers (1, 2, 3, … without gaps) are positions in the log; they are not part of
//! an entry. Everything here may be shown to the run's tenant.

use domain::failure::Failure;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry of a run's event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

/// What happened. `type` is the event's name on every stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RunEventKind {
    /// The run left the queue.
    #[serde(rename = "run.started")]
    RunStarted,
    /// The run ended well; its result can be read.
    #[serde(rename = "run.completed")]
    RunCompleted,
    /// The run failed.
    #[serde(rename = "run.failed")]
    RunFailed {
        /// Why.
        failure: Failure,
    },
    /// The run was cancelled.
    #[serde(rename = "run.cancelled")]
    RunCancelled,
    /// The run's deadline passed.
    #[serde(rename = "run.timed_out")]
    RunTimedOut,
    /// All that is left of the run waits for a person.
    #[serde(rename = "run.suspended")]
    RunSuspended,
    /// A person decided, and the run goes on.
    #[serde(rename = "run.resumed")]
    RunResumed,
    /// Somebody asked that nothing more of the run begins.
    #[serde(rename = "run.paused")]
    RunPaused,
    /// Somebody asked that the run goes on; it takes its turn again.
    #[serde(rename = "run.unpaused")]
    RunUnpaused,
    /// A cell waits for a worker.
    #[serde(rename = "task.ready")]
    TaskReady {
        /// The cell's id.
        cell: String,
        /// The attempts made so far.
        attempt: u32,
    },
    /// A worker took the cell.
    #[serde(rename = "task.leased")]
    TaskLeased {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
    },
    /// A container has the cell.
    #[serde(rename = "task.running")]
    TaskRunning {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// The container's short id.
        container: String,
    },
    /// The cell is done.
    #[serde(rename = "task.done")]
    TaskDone {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// From the container's start of work to its result, in milliseconds.
        duration_ms: u64,
    },
    /// The cell asks a person; its container is gone.
    #[serde(rename = "task.paused")]
    TaskPaused {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// The question, as lfx makes it.
        request: Value,
    },
    /// An attempt failed.
    #[serde(rename = "task.failed")]
    TaskFailed {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Whether there will be another attempt.
        will_retry: bool,
    },
    /// The cell's branch was not taken.
    #[serde(rename = "task.skipped")]
    TaskSkipped {
        /// The cell's id.
        cell: String,
    },
    /// The run ended before the cell did.
    #[serde(rename = "task.cancelled")]
    TaskCancelled {
        /// The cell's id.
        cell: String,
    },
    /// A value proved to be unable to leave its container, so that its cell and those that need it
    /// were planned anew. What comes next is about the new cells, whose ids may be old ones.
    #[serde(rename = "run.replanned")]
    RunReplanned {
        /// The ids of the cells that are no more.
        replaced: Vec<String>,
        /// The ids of the new cells.
        planned: Vec<String>,
    },
    /// An event of Langflow's own (`add_message`, `token`, `error`, …), exactly as emitted.
    #[serde(rename = "langflow")]
    Langflow {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// The event's name.
        event: String,
        /// The event's data.
        data: Value,
    },
    /// Standard output or error of a component.
    #[serde(rename = "log")]
    Log {
        /// The cell's id.
        cell: String,
        /// The attempt.
        attempt: u32,
        /// `stdout` or `stderr`.
        stream: String,
        /// The text.
        text: String,
    },
}

impl RunEventKind {
    /// Whether it is the last entry of its log.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::RunCompleted | Self::RunFailed { .. } | Self::RunCancelled | Self::RunTimedOut
        )
    }

    /// The serialised `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunStarted => "run.started",
            Self::RunCompleted => "run.completed",
            Self::RunFailed { .. } => "run.failed",
            Self::RunCancelled => "run.cancelled",
            Self::RunTimedOut => "run.timed_out",
            Self::RunSuspended => "run.suspended",
            Self::RunResumed => "run.resumed",
            Self::RunPaused => "run.paused",
            Self::RunUnpaused => "run.unpaused",
            Self::TaskReady { .. } => "task.ready",
            Self::TaskLeased { .. } => "task.leased",
            Self::TaskRunning { .. } => "task.running",
            Self::TaskDone { .. } => "task.done",
            Self::TaskPaused { .. } => "task.paused",
            Self::TaskFailed { .. } => "task.failed",
            Self::TaskSkipped { .. } => "task.skipped",
            Self::TaskCancelled { .. } => "task.cancelled",
            Self::RunReplanned { .. } => "run.replanned",
            Self::Langflow { .. } => "langflow",
            Self::Log { .. } => "log",
        }
    }
}
