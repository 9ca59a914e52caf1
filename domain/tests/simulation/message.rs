//! What is under way between schedulers, workers and people.

use flowcell_domain::id::WorkerEpoch;

/// An attempt at a task: run, task, attempt.
pub(crate) type Attempt = (usize, u32, u32);

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Offer { run: usize, task: u32 },
    Claim { run: usize, task: u32, worker: usize, epoch: WorkerEpoch },
    Assigned { attempt: Attempt, worker: usize, epoch: WorkerEpoch },
    Report { attempt: Attempt, epoch: WorkerEpoch, worker: usize, end: End },
    Confirmed { attempt: Attempt, worker: usize, epoch: WorkerEpoch },
    Stop { attempt: Attempt, epoch: WorkerEpoch },
    Answered { run: usize, task: u32 },
    Cancel { run: usize },
    Pause { run: usize },
}

/// How an attempt ends in its container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Done,
    Failed,
    OutOfMemory,
    StartFailed,
    Asks,
}

impl Message {
    /// The worker that sends or gets it.
    pub(crate) fn worker(&self) -> Option<usize> {
        match self {
            Self::Claim { worker, .. }
            | Self::Assigned { worker, .. }
            | Self::Report { worker, .. }
            | Self::Confirmed { worker, .. } => Some(*worker),
            Self::Offer { .. }
            | Self::Stop { .. }
            | Self::Answered { .. }
            | Self::Cancel { .. }
            | Self::Pause { .. } => None,
        }
    }
}
