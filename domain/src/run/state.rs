//! The states of runs and tasks, and the one place that says which follows which.

use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted; no scheduler has started it yet.
    Queued,
    /// Its tasks are being executed.
    Running,
    /// Nothing can go on before a person decides.
    Suspended,
    /// Somebody asked that nothing more of it begins.
    Paused,
    /// Every task is done or skipped.
    Completed,
    /// A task failed for good.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Ended by its deadline.
    TimedOut,
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunSignal {
    /// It leaves the queue.
    Start,
    /// Nothing is left to do.
    Complete,
    /// A task failed for good.
    Fail,
    /// All that is left waits for a person.
    Suspend,
    /// A person decided.
    Resume,
    /// Somebody asked that nothing more of it begins.
    Pause,
    /// Somebody asked that it goes on: it takes its turn again.
    Unpause,
    /// Somebody asked for its end.
    Cancel,
    /// Its deadline passed.
    Expire,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Needs results that are not there yet.
    Waiting,
    /// May be taken by a worker.
    Ready,
    /// Taken; its container does not have it yet.
    Leased,
    /// Its container has it.
    Running,
    /// It asked a person, and its container is gone.
    Paused,
    /// Succeeded.
    Done,
    /// Failed for good.
    Failed,
    /// Its branch was not taken.
    Skipped,
    /// The run ended first.
    Cancelled,
    /// Its cell was planned anew; another task does its work.
    Replaced,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskSignal {
    /// All that it needs is there.
    Unblock,
    /// A worker takes it.
    Lease,
    /// Its container has it.
    Start,
    /// The attempt succeeded.
    Complete,
    /// The attempt asked a person.
    Pause,
    /// The person decided: it may be taken again.
    Answer,
    /// The attempt failed; there will be another.
    Retry,
    /// Its run is paused.
    Hold,
    /// The attempt failed; there will be no other.
    Fail,
    /// Its branch was not taken.
    Skip,
    /// The run ends.
    Cancel,
    /// Its cell is planned anew.
    Replace,
}

impl RunState {
    /// Every state, for tests and documentation.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Suspended,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// The state that follows, or `None` where the signal does not apply.
    #[must_use]
    pub fn next(self, signal: RunSignal) -> Option<Self> {
        match (self, signal) {
            (Self::Queued, RunSignal::Start) | (Self::Suspended, RunSignal::Resume) => {
                Some(Self::Running)
            }
            // A run that was paused may have tasks that began before.
            (Self::Queued | Self::Running | Self::Paused, RunSignal::Complete) => {
                Some(Self::Completed)
            }
            (Self::Queued | Self::Running | Self::Paused, RunSignal::Fail) => Some(Self::Failed),
            (Self::Running, RunSignal::Suspend) => Some(Self::Suspended),
            (Self::Queued | Self::Running | Self::Suspended, RunSignal::Pause) => {
                Some(Self::Paused)
            }
            (Self::Paused, RunSignal::Unpause) => Some(Self::Queued),
            (
                Self::Queued | Self::Running | Self::Suspended | Self::Paused,
                RunSignal::Cancel,
            ) => Some(Self::Cancelled),
            (Self::Queued | Self::Running, RunSignal::Expire) => Some(Self::TimedOut),
            (
                Self::Queued,
                RunSignal::Suspend | RunSignal::Resume | RunSignal::Unpause,
            )
            | (Self::Running, RunSignal::Start | RunSignal::Resume | RunSignal::Unpause)
            // Its deadline does not pass: a person may take days.
            | (
                Self::Suspended,
                RunSignal::Start
                | RunSignal::Complete
                | RunSignal::Fail
                | RunSignal::Suspend
                | RunSignal::Unpause
                | RunSignal::Expire,
            )
            | (
                Self::Paused,
                RunSignal::Start
                | RunSignal::Suspend
                | RunSignal::Resume
                | RunSignal::Pause
                | RunSignal::Expire,
            )
            | (Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut, _) => None,
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Suspended | Self::Paused => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }

    /// The name used by the API and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl TaskState {
    /// Every state, for tests and documentation.
    pub const ALL: [Self; 10] = [
        Self::Waiting,
        Self::Ready,
        Self::Leased,
        Self::Running,
        Self::Paused,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
        Self::Replaced,
    ];

    /// The state that follows, or `None` where the signal does not apply.
    #[must_use]
    pub fn next(self, signal: TaskSignal) -> Option<Self> {
        use TaskSignal as On;
        match (self, signal) {
            (Self::Waiting, On::Unblock) => Some(Self::Ready),
            (Self::Waiting | Self::Ready, On::Skip) => Some(Self::Skipped),
            (Self::Ready, On::Lease) => Some(Self::Leased),
            (Self::Ready, On::Hold) => Some(Self::Waiting),
            (Self::Leased, On::Start) => Some(Self::Running),
            // A very short attempt may report its end before its start was recorded.
            (Self::Leased | Self::Running, On::Complete) => Some(Self::Done),
            (Self::Leased | Self::Running, On::Retry) => Some(Self::Ready),
            (Self::Leased | Self::Running, On::Pause) => Some(Self::Paused),
            (Self::Paused, On::Answer) => Some(Self::Ready),
            // A ready task fails when its input turns out to be impossible at claim time.
            (Self::Ready | Self::Leased | Self::Running, On::Fail) => Some(Self::Failed),
            (
                Self::Waiting | Self::Ready | Self::Leased | Self::Running | Self::Paused,
                On::Cancel,
            ) => Some(Self::Cancelled),
            // What a paused task asked is asked again by the cell that takes its place.
            (
                Self::Waiting | Self::Ready | Self::Leased | Self::Running | Self::Paused,
                On::Replace,
            ) => Some(Self::Replaced),
            (
                Self::Waiting,
                On::Lease
                | On::Start
                | On::Complete
                | On::Pause
                | On::Answer
                | On::Retry
                | On::Hold
                | On::Fail,
            )
            | (
                Self::Ready,
                On::Unblock | On::Start | On::Complete | On::Pause | On::Answer | On::Retry,
            )
            | (Self::Leased, On::Unblock | On::Lease | On::Answer | On::Hold | On::Skip)
            | (
                Self::Running,
                On::Unblock | On::Lease | On::Start | On::Answer | On::Hold | On::Skip,
            )
            | (
                Self::Paused,
                On::Unblock
                | On::Lease
                | On::Start
                | On::Complete
                | On::Pause
                | On::Retry
                | On::Hold
                | On::Fail
                | On::Skip,
            )
            | (Self::Done | Self::Failed | Self::Skipped | Self::Cancelled | Self::Replaced, _) => {
                None
            }
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Waiting | Self::Ready | Self::Leased | Self::Running | Self::Paused => false,
            Self::Done | Self::Failed | Self::Skipped | Self::Cancelled | Self::Replaced => true,
        }
    }

    /// Whether tasks that depend on this one may go on. (None depends on a replaced one.)
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Replaced)
    }

    /// Whether it goes on without anybody's decision.
    #[must_use]
    pub fn is_moving(self) -> bool {
        matches!(self, Self::Ready | Self::Leased | Self::Running)
    }

    /// The name used by the API and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, written out once more by hand: rows are states, columns are signals.
    #[test]
    fn every_task_transition() {
        use TaskSignal::*;
        use TaskState as S;
        let signals = [
            Unblock, Lease, Start, Complete, Pause, Answer, Retry, Hold, Fail, Skip, Cancel,
            Replace,
        ];
        let table = [
            (S::Waiting, "ready - - - - - - - - skipped cancelled replaced"),
            (S::Ready, "- leased - - - - - waiting failed skipped cancelled replaced"),
            (S::Leased, "- - running done paused - ready - failed - cancelled replaced"),
            (S::Running, "- - - done paused - ready - failed - cancelled replaced"),
            (S::Paused, "- - - - - ready - - - - cancelled replaced"),
            (S::Done, "- - - - - - - - - - - -"),
            (S::Failed, "- - - - - - - - - - - -"),
            (S::Skipped, "- - - - - - - - - - - -"),
            (S::Cancelled, "- - - - - - - - - - - -"),
            (S::Replaced, "- - - - - - - - - - - -"),
        ];
        assert_eq!(table.len(), TaskState::ALL.len());
        for (state, row) in table {
            let expected: Vec<&str> = row.split(' ').collect();
            for (signal, expected) in signals.into_iter().zip(expected) {
                let got = state.next(signal).map_or("-", TaskState::name);
                assert_eq!(got, expected, "{state:?} on {signal:?}");
            }
            assert_eq!(state.is_terminal(), !row.contains(char::is_alphabetic));
        }
    }

    #[test]
    fn every_run_transition() {
        use RunSignal::*;
        use RunState as S;
        let signals = [Start, Complete, Fail, Suspend, Resume, Pause, Unpause, Cancel, Expire];
        let table = [
            (S::Queued, "running completed failed - - paused - cancelled timed_out"),
            (S::Running, "- completed failed suspended - paused - cancelled timed_out"),
            (S::Suspended, "- - - - running paused - cancelled -"),
            (S::Paused, "- completed failed - - - queued cancelled -"),
            (S::Completed, "- - - - - - - - -"),
            (S::Failed, "- - - - - - - - -"),
            (S::Cancelled, "- - - - - - - - -"),
            (S::TimedOut, "- - - - - - - - -"),
        ];
        assert_eq!(table.len(), RunState::ALL.len());
        for (state, row) in table {
            for (signal, expected) in signals.into_iter().zip(row.split(' ')) {
                let got = state.next(signal).map_or("-", RunState::name);
                assert_eq!(got, expected, "{state:?} on {signal:?}");
            }
            assert_eq!(state.is_terminal(), !row.contains(char::is_alphabetic));
        }
    }

    #[test]
    fn names_are_unique_and_round_trip() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::named(state.name()), Some(state));
        }
        for state in RunState::ALL {
            assert_eq!(RunState::named(state.name()), Some(state));
        }
        assert_eq!(TaskState::named("gone"), None);
    }
}
