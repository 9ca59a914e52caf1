//! A run and its tasks as one pure state machine.
//!
//! ```text
//! run:   queued ─▶ running ─▶ completed | failed | cancelled | timed_out
//!                  ▲     │
//!                  └ suspended (all that is left waits for a person)
//!        queued | running | suspended ─▶ paused ─▶ queued (somebody asked)
//! task:  waiting ─▶ ready ─▶ leased ─▶ running ─▶ done | failed
//!           │         ▲ ▲       └──── retry ──┤
//!           │         │ └─────────────────────┤
//!           │         └──── answer ── paused ◀┘ (it asked a person)
//!           │◀ ready (its run was paused)
//!           ├─▶ skipped (its branch was not taken)
//!           ├─▶ replaced (an output proved to be live, and its cell was planned anew)
//!           └─▶ cancelled (the run ended first)
//! ```
//!
//! A ready task waits until it is admitted ([`crate::admission`]) and offered to workers.
//!
//! [`decide()`] turns a command into events and effects, [`Run::apply`] folds an event into the
//! state. A scheduler loads a run, decides, writes the new state and the effects in one
//! transaction, and only then acts on the effects; a command that arrives twice is refused the
//! second time, so lost, repeated and reordered messages change nothing.

mod decide;
mod state;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use decide::{Command, Decision, Effect, Outcome, Refused, decide};
pub use state::{RunSignal, RunState, TaskSignal, TaskState};

use crate::failure::Failure;
use crate::id::{RunId, WorkerEpoch};
use crate::limits::REDISPATCH;
use crate::retry::RetryPolicy;
use crate::terms::TaskTerms;
use crate::time::Timestamp;

/// A run: the aggregate that one transition loads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// When it must have ended; later by as long as it was suspended or paused.
    pub deadline: Timestamp,
    /// Since when its time stands still: it is suspended, or paused, or first one and then both.
    pub suspended: Option<Timestamp>,
    /// How its tasks are retried.
    pub retry: RetryPolicy,
    /// Its tasks, one per cell of the plan; `tasks[i].index == i`.
    pub tasks: Vec<Task>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// One cell of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The cell's index in the plan.
    pub index: u32,
    /// Indexes of the tasks whose results it needs.
    pub depends_on: Vec<u32>,
    /// Where it stands.
    pub state: TaskState,
    /// How many attempts were started; the current one's number (1-based) while leased or running.
    pub attempt: u32,
    /// How many attempts ended by asking a person.
    pub pauses: u32,
    /// How often it was offered to workers.
    pub dispatches: u32,
    /// When it was last offered.
    pub dispatched: Option<Timestamp>,
    /// Not to be offered before this time (a retry's backoff).
    pub not_before: Option<Timestamp>,
    /// Who holds it while leased or running.
    pub lease: Option<Lease>,
    /// Why its last attempt failed.
    pub failure: Option<Failure>,
    /// On which terms it runs.
    pub terms: TaskTerms,
}

/// A worker's right to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker process that holds it.
    pub worker: WorkerEpoch,
    /// When it was granted.
    pub since: Timestamp,
}

/// What happened to a run; the only way its state changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run left the queue.
    RunStarted,
    /// All that the task needs is there, a failed attempt is to be repeated, or a person decided.
    TaskReady {
        /// The task.
        task: u32,
        /// Not to be offered before this time.
        not_before: Option<Timestamp>,
    },
    /// The task was offered to workers.
    TaskDispatched {
        /// The task.
        task: u32,
        /// When.
        at: Timestamp,
    },
    /// A worker took an attempt.
    TaskLeased {
        /// The task.
        task: u32,
        /// The attempt's number.
        attempt: u32,
        /// Who took it.
        worker: WorkerEpoch,
        /// When.
        at: Timestamp,
    },
    /// The attempt's container has its task.
    TaskRunning {
        /// The task.
        task: u32,
        /// The attempt's number.
        attempt: u32,
    },
    /// The attempt succeeded.
    TaskDone {
        /// The task.
        task: u32,
        /// The attempt's number.
        attempt: u32,
    },
    /// The attempt asked a person.
    TaskPaused {
        /// The task.
        task: u32,
        /// The attempt's number.
        attempt: u32,
    },
    /// The attempt failed; `TaskReady` or `TaskFailed` follows.
    AttemptFailed {
        /// The task.
        task: u32,
        /// The attempt's number; 0 when no worker had taken it.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The task failed for good.
    TaskFailed {
        /// The task.
        task: u32,
    },
    /// The task's branch was not taken.
    TaskSkipped {
        /// The task.
        task: u32,
    },
    /// The run ended before the task did.
    TaskCancelled {
        /// The task.
        task: u32,
    },
    /// The run follows another plan from here on.
    Replanned {
        /// Tasks whose cells are no more.
        replaced: Vec<u32>,
        /// Tasks that are new, and those that need other ones than before.
        planned: Vec<PlannedTask>,
    },
    /// All that is left waits for a person.
    RunSuspended {
        /// When.
        at: Timestamp,
    },
    /// A person decided.
    RunResumed {
        /// When.
        at: Timestamp,
    },
    /// Somebody asked that nothing more of it begins.
    RunPaused {
        /// When.
        at: Timestamp,
    },
    /// Somebody asked that it goes on: it is queued again, whatever it was before.
    RunUnpaused {
        /// When.
        at: Timestamp,
    },
    /// A ready task waits because its run is paused.
    TaskHeld {
        /// The task.
        task: u32,
    },
    /// Every task is done, skipped or replaced.
    RunCompleted,
    /// A task failed for good.
    RunFailed {
        /// Why.
        failure: Failure,
    },
    /// Somebody asked for its end.
    RunCancelled,
    /// Its deadline passed.
    RunTimedOut,
}

/// A task as a new plan has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Its index: one of the run's tasks, or the next one after them.
    pub task: u32,
    /// The cell's id.
    pub cell: String,
    /// Indexes of the tasks whose results it needs.
    pub depends_on: Vec<u32>,
}

impl Run {
    /// A new run in the queue, with one waiting task for each list of dependencies.
    #[must_use]
    pub fn queued(
        id: RunId,
        depends_on: Vec<Vec<u32>>,
        deadline: Timestamp,
        retry: RetryPolicy,
    ) -> Self {
        let tasks = (0u32..).zip(depends_on).map(|(index, needs)| Task::waiting(index, needs));
        Self {
            id,
            state: RunState::Queued,
            deadline,
            suspended: None,
            retry,
            tasks: tasks.collect(),
            failure: None,
        }
    }

    /// The task with this index.
    #[must_use]
    pub fn task(&self, index: u32) -> Option<&Task> {
        usize::try_from(index).ok().and_then(|index| self.tasks.get(index))
    }

    fn task_mut(&mut self, index: u32) -> Option<&mut Task> {
        usize::try_from(index).ok().and_then(|index| self.tasks.get_mut(index))
    }

    /// Whether its deadline has passed. While it is suspended or paused its time stands still.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        !matches!(self.state, RunState::Suspended | RunState::Paused) && now >= self.deadline
    }

    /// Folds one event into the state. An event that does not fit (an unknown task, a transition
    /// that does not exist) changes nothing: [`decide()`] never makes one, and a replay of a log
    /// that some other version wrote must not panic.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::RunStarted => self.signal(RunSignal::Start),
            Event::RunCompleted => self.signal(RunSignal::Complete),
            Event::RunCancelled => self.signal(RunSignal::Cancel),
            Event::RunTimedOut => self.signal(RunSignal::Expire),
            Event::RunFailed { failure } => {
                self.signal(RunSignal::Fail);
                self.failure = Some(failure.clone());
            }
            Event::Replanned { replaced, planned } => {
                for task in replaced {
                    if let Some(task) = self.task_mut(*task) {
                        task.signal(TaskSignal::Replace);
                    }
                }
                for task in planned {
                    self.plan(task);
                }
            }
            Event::RunSuspended { at } => {
                self.signal(RunSignal::Suspend);
                self.suspended = (self.state == RunState::Suspended).then_some(*at);
            }
            Event::RunResumed { at } => self.go_on(RunSignal::Resume, *at),
            Event::RunPaused { at } => {
                self.signal(RunSignal::Pause);
                if self.state == RunState::Paused {
                    self.suspended.get_or_insert(*at);
                }
            }
            Event::RunUnpaused { at } => self.go_on(RunSignal::Unpause, *at),
            Event::TaskReady { task, .. }
            | Event::TaskDispatched { task, .. }
            | Event::TaskLeased { task, .. }
            | Event::TaskRunning { task, .. }
            | Event::TaskDone { task, .. }
            | Event::TaskPaused { task, .. }
            | Event::AttemptFailed { task, .. }
            | Event::TaskFailed { task }
            | Event::TaskSkipped { task }
            | Event::TaskHeld { task }
            | Event::TaskCancelled { task } => {
                if let Some(task) = self.task_mut(*task) {
                    task.apply(event);
                }
            }
        }
    }

    fn plan(&mut self, planned: &PlannedTask) {
        if let Some(task) = self.task_mut(planned.task) {
            task.depends_on.clone_from(&planned.depends_on);
        } else if usize::try_from(planned.task) == Ok(self.tasks.len()) {
            self.tasks.push(Task::waiting(planned.task, planned.depends_on.clone()));
        }
    }

    /// Its time runs again.
    fn go_on(&mut self, signal: RunSignal, at: Timestamp) {
        let stood = self.suspended.take().map_or(Duration::ZERO, |since| at.since(since));
        self.signal(signal);
        self.deadline = self.deadline + stood;
    }

    fn signal(&mut self, signal: RunSignal) {
        if let Some(next) = self.state.next(signal) {
            self.state = next;
        }
        if self.state.is_terminal() {
            self.suspended = None;
        }
    }
}

impl Task {
    pub(crate) fn waiting(index: u32, depends_on: Vec<u32>) -> Self {
        Self {
            index,
            depends_on,
            state: TaskState::Waiting,
            attempt: 0,
            pauses: 0,
            dispatches: 0,
            dispatched: None,
            not_before: None,
            lease: None,
            failure: None,
            terms: TaskTerms::default(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::TaskReady { not_before, .. } => {
                self.signal(match self.state {
                    TaskState::Waiting => TaskSignal::Unblock,
                    TaskState::Paused => TaskSignal::Answer,
                    _ => TaskSignal::Retry,
                });
                self.not_before = *not_before;
                self.dispatched = None;
            }
            Event::TaskDispatched { at, .. } => {
                self.dispatches = self.dispatches.saturating_add(1);
                self.dispatched = Some(*at);
            }
            Event::TaskLeased { attempt, worker, at, .. } => {
                self.signal(TaskSignal::Lease);
                self.attempt = *attempt;
                self.lease = Some(Lease { worker: *worker, since: *at });
            }
            Event::TaskRunning { .. } => self.signal(TaskSignal::Start),
            Event::TaskDone { .. } => {
                self.signal(TaskSignal::Complete);
                self.failure = None;
            }
            Event::TaskPaused { .. } => {
                self.signal(TaskSignal::Pause);
                self.pauses = self.pauses.saturating_add(1);
                self.failure = None;
            }
            Event::AttemptFailed { failure, .. } => self.failure = Some(failure.clone()),
            Event::TaskFailed { .. } => self.signal(TaskSignal::Fail),
            Event::TaskHeld { .. } => {
                self.signal(TaskSignal::Hold);
                self.not_before = None;
                self.dispatched = None;
            }
            Event::TaskSkipped { .. } => self.signal(TaskSignal::Skip),
            Event::TaskCancelled { .. } => self.signal(TaskSignal::Cancel),
            Event::Replanned { .. }
            | Event::RunStarted
            | Event::RunSuspended { .. }
            | Event::RunResumed { .. }
            | Event::RunPaused { .. }
            | Event::RunUnpaused { .. }
            | Event::RunCompleted
            | Event::RunFailed { .. }
            | Event::RunCancelled
            | Event::RunTimedOut => {}
        }
    }

    fn signal(&mut self, signal: TaskSignal) {
        if let Some(next) = self.state.next(signal) {
            self.state = next;
            if !matches!(next, TaskState::Leased | TaskState::Running) {
                self.lease = None;
            }
        }
    }

    /// Whether it is to be offered to workers: nobody has it, it is due, and an earlier offer, if
    /// there was one, must have been lost.
    #[must_use]
    pub fn is_offerable(&self, now: Timestamp) -> bool {
        self.state == TaskState::Ready
            && self.not_before.is_none_or(|not_before| not_before <= now)
            && self.dispatched.is_none_or(|at| now.since(at) >= REDISPATCH)
    }

    /// Whether this worker holds this attempt.
    #[must_use]
    pub fn is_held_by(&self, attempt: u32, worker: WorkerEpoch) -> bool {
        self.attempt == attempt && self.lease.is_some_and(|lease| lease.worker == worker)
    }
}
