//! From a command to events and effects.

use super::{Event, PlannedTask, Run, RunState, Task, TaskState};
use crate::failure::Failure;
use crate::id::WorkerEpoch;
use crate::retry::Tried;
use crate::time::Timestamp;

/// What somebody wants of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take it out of the queue.
    Start {
        /// Tasks that this run does not need.
        skip: Vec<u32>,
    },
    /// A worker asks for a task.
    Claim {
        /// The task.
        task: u32,
        /// Who asks.
        worker: WorkerEpoch,
    },
    /// A worker tells that the container has its task.
    Began {
        /// The task.
        task: u32,
        /// The attempt.
        attempt: u32,
        /// Who tells.
        worker: WorkerEpoch,
    },
    /// A worker reports the end of an attempt.
    Finish {
        /// The task.
        task: u32,
        /// The attempt.
        attempt: u32,
        /// Who reports.
        worker: WorkerEpoch,
        /// How it ended.
        outcome: Outcome,
    },
    /// The holder's lease is over.
    Lost {
        /// The task.
        task: u32,
        /// The attempt.
        attempt: u32,
        /// Whose lease ended.
        worker: WorkerEpoch,
        /// What to record.
        failure: Failure,
    },
    /// A ready task cannot be run at all (its input is impossible).
    Reject {
        /// The task.
        task: u32,
        /// Why.
        failure: Failure,
    },
    /// A person decided what these tasks asked.
    Answer {
        /// The tasks.
        tasks: Vec<u32>,
    },
    /// Offer these tasks to workers: they were admitted.
    Offer {
        /// The tasks; those that are not to be offered now are passed over.
        tasks: Vec<u32>,
    },
    /// Let nothing more of it begin; what runs goes on to its end.
    Pause,
    /// Let a paused run go on: it takes its turn again.
    Unpause,
    /// End the run.
    Cancel,
    /// Look at the clock: has the deadline passed?
    Wake,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a result; these tasks lie on branches that were not taken.
    Done {
        /// Tasks to skip.
        skip: Vec<u32>,
    },
    /// It asks a person first.
    Paused,
    /// It has none.
    Failed(Failure),
    /// It has one that cannot leave its container, so the run goes on under another plan.
    Replanned {
        /// What could not leave.
        failure: Failure,
        /// Tasks whose cells are no more; the one that reports among them.
        replaced: Vec<u32>,
        /// Tasks that are new, and those that need other ones than before.
        planned: Vec<PlannedTask>,
        /// New tasks that this run does not need.
        skip: Vec<u32>,
    },
}

/// What follows from a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What has to be done once the events are committed.
    pub effects: Vec<Effect>,
}

/// Something to do outside, after the commit. Every effect may be repeated or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Offer the task to workers.
    Dispatch {
        /// The task.
        task: u32,
        /// How often it was offered, this time included: part of the message's id.
        dispatch: u32,
    },
    /// Tell the worker to end the attempt's container.
    Stop {
        /// The task.
        task: u32,
        /// The attempt.
        attempt: u32,
        /// Who runs it.
        worker: WorkerEpoch,
    },
}

/// Why a command changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The run has ended.
    #[error("the run has ended")]
    RunEnded,
    /// It was done before: the command is a repetition.
    #[error("this was done before")]
    AlreadyDone,
    /// The task is not ready to be taken.
    #[error("the task is not ready")]
    NotReady,
    /// The attempt is not the current one, or another worker holds it.
    #[error("the attempt is stale")]
    Stale,
    /// The plan has no such task.
    #[error("the run has no such task")]
    UnknownTask,
}

/// Decides what a command does to a run at a point in time.
///
/// # Errors
/// [`Refused`] when the command changes nothing; the caller tells it to whoever asked.
pub fn decide(run: &Run, command: &Command, now: Timestamp) -> Result<Decision, Refused> {
    if run.state.is_terminal() {
        return Err(Refused::RunEnded);
    }
    let mut deciding = Deciding { run: run.clone(), decision: Decision::default() };
    if *command == Command::Cancel {
        deciding.end(Event::RunCancelled);
    } else if run.is_overdue(now) {
        deciding.end(Event::RunTimedOut);
    } else {
        deciding.step(command, now)?;
        deciding.hold();
    }
    Ok(deciding.decision)
}

/// A decision in the making: the run as it is after the events so far.
struct Deciding {
    run: Run,
    decision: Decision,
}

impl Deciding {
    fn step(&mut self, command: &Command, now: Timestamp) -> Result<(), Refused> {
        match command {
            Command::Cancel => {}
            Command::Start { skip } => {
                if self.run.state != RunState::Queued {
                    return Err(Refused::AlreadyDone);
                }
                self.event(Event::RunStarted);
                self.skip(skip);
                self.unblock(now);
            }
            Command::Claim { task, worker } => self.claim(*task, *worker, now)?,
            Command::Began { task, attempt, worker } => {
                let held = self.held(*task, *attempt, *worker)?;
                if held.state == TaskState::Running {
                    return Err(Refused::AlreadyDone);
                }
                self.event(Event::TaskRunning { task: *task, attempt: *attempt });
            }
            Command::Finish { task, attempt, worker, outcome } => {
                let found = self.run.task(*task).ok_or(Refused::UnknownTask)?;
                let is_reported = matches!(found.state, TaskState::Done | TaskState::Paused);
                if is_reported && found.attempt == *attempt {
                    return Err(Refused::AlreadyDone);
                }
                self.held(*task, *attempt, *worker)?;
                match outcome {
                    Outcome::Done { skip } => self.done(*task, *attempt, skip, now),
                    Outcome::Paused => {
                        self.event(Event::TaskPaused { task: *task, attempt: *attempt });
                        self.rest(now);
                    }
                    Outcome::Failed(failure) => self.failed(*task, *attempt, failure, now),
                    Outcome::Replanned { failure, replaced, planned, skip } => {
                        let failure = failure.clone();
                        self.event(Event::AttemptFailed {
                            task: *task,
                            attempt: *attempt,
                            failure,
                        });
                        self.replan(*task, replaced, planned);
                        self.skip(skip);
                        self.unblock(now);
                    }
                }
            }
            Command::Lost { task, attempt, worker, failure } => {
                self.held(*task, *attempt, *worker)?;
                self.failed(*task, *attempt, failure, now);
            }
            Command::Reject { task, failure } => {
                let found = self.run.task(*task).ok_or(Refused::UnknownTask)?;
                if found.state != TaskState::Ready {
                    return Err(Refused::NotReady);
                }
                let attempt = found.attempt;
                self.event(Event::AttemptFailed { task: *task, attempt, failure: failure.clone() });
                self.fail(*task, failure);
            }
            Command::Answer { tasks } => self.answer(tasks, now)?,
            Command::Offer { tasks } => self.offer(tasks, now)?,
            Command::Pause => self.pause(now)?,
            Command::Unpause => self.unpause(now)?,
            Command::Wake => {}
        }
        Ok(())
    }

    fn pause(&mut self, now: Timestamp) -> Result<(), Refused> {
        if self.run.state == RunState::Paused {
            return Err(Refused::AlreadyDone);
        }
        self.event(Event::RunPaused { at: now });
        Ok(())
    }

    fn unpause(&mut self, now: Timestamp) -> Result<(), Refused> {
        if self.run.state != RunState::Paused {
            return Err(Refused::AlreadyDone);
        }
        self.event(Event::RunUnpaused { at: now });
        Ok(())
    }

    /// In a run that is paused, or queued again since, nothing is ready: nothing of it weighs in
    /// admission, and an offer that is on its way is refused.
    fn hold(&mut self) {
        if !matches!(self.run.state, RunState::Paused | RunState::Queued) {
            return;
        }
        let ready = self.run.tasks.iter().filter(|task| task.state == TaskState::Ready);
        let ready: Vec<u32> = ready.map(|task| task.index).collect();
        for task in ready {
            self.event(Event::TaskHeld { task });
        }
    }

    fn answer(&mut self, tasks: &[u32], now: Timestamp) -> Result<(), Refused> {
        let is_paused =
            |task: &&u32| self.run.task(**task).is_some_and(|task| task.state == TaskState::Paused);
        let paused: Vec<u32> = tasks.iter().filter(is_paused).copied().collect();
        if paused.is_empty() {
            return Err(Refused::AlreadyDone);
        }
        if self.run.state == RunState::Suspended {
            self.event(Event::RunResumed { at: now });
        }
        for task in paused {
            self.event(Event::TaskReady { task, not_before: None });
        }
        Ok(())
    }

    fn claim(&mut self, task: u32, worker: WorkerEpoch, now: Timestamp) -> Result<(), Refused> {
        let found = self.run.task(task).ok_or(Refused::UnknownTask)?;
        let due = found.not_before.is_none_or(|not_before| not_before <= now);
        if found.state != TaskState::Ready || !due {
            return Err(Refused::NotReady);
        }
        let attempt = found.attempt.saturating_add(1);
        self.event(Event::TaskLeased { task, attempt, worker, at: now });
        Ok(())
    }

    /// The task, if this worker holds this attempt of it.
    fn held(&self, task: u32, attempt: u32, worker: WorkerEpoch) -> Result<&Task, Refused> {
        let found = self.run.task(task).ok_or(Refused::UnknownTask)?;
        if found.is_held_by(attempt, worker) { Ok(found) } else { Err(Refused::Stale) }
    }

    fn done(&mut self, task: u32, attempt: u32, skip: &[u32], now: Timestamp) {
        self.event(Event::TaskDone { task, attempt });
        self.skip(skip);
        self.unblock(now);
    }

    fn replan(&mut self, reporter: u32, replaced: &[u32], planned: &[PlannedTask]) {
        for &task in replaced.iter().filter(|task| **task != reporter) {
            self.stop(task);
        }
        let (replaced, planned) = (replaced.to_vec(), planned.to_vec());
        self.event(Event::Replanned { replaced, planned });
    }

    /// Has the container of a task ended, where it has one.
    fn stop(&mut self, task: u32) {
        let Some(found) = self.run.task(task) else { return };
        if let Some(lease) = found.lease {
            let (attempt, worker) = (found.attempt, lease.worker);
            self.decision.effects.push(Effect::Stop { task, attempt, worker });
        }
    }

    fn skip(&mut self, tasks: &[u32]) {
        for &task in tasks {
            let skippable = self
                .run
                .task(task)
                .is_some_and(|t| matches!(t.state, TaskState::Waiting | TaskState::Ready));
            if skippable {
                self.event(Event::TaskSkipped { task });
            }
        }
    }

    fn failed(&mut self, task: u32, attempt: u32, failure: &Failure, now: Timestamp) {
        self.event(Event::AttemptFailed { task, attempt, failure: failure.clone() });
        // An attempt that asked a person did its work; it is none of the tries.
        let found = self.run.task(task);
        let pauses = found.map_or(0, |task| task.pauses);
        let policy = found.and_then(|task| task.terms.retry.as_ref()).unwrap_or(&self.run.retry);
        let tried = Tried { run: self.run.id, task, tries: attempt.saturating_sub(pauses) };
        match policy.delay_after(tried, &failure.kind) {
            Some(delay) => self.event(Event::TaskReady { task, not_before: Some(now + delay) }),
            None => self.fail(task, failure),
        }
    }

    fn fail(&mut self, task: u32, failure: &Failure) {
        self.event(Event::TaskFailed { task });
        self.end(Event::RunFailed { failure: failure.clone() });
    }

    /// Makes every task ready whose needs are met, and ends a run that has nothing left to do.
    fn unblock(&mut self, now: Timestamp) {
        if self.run.state == RunState::Running {
            let waits = |task: &&Task| {
                task.state == TaskState::Waiting && self.is_settled(&task.depends_on)
            };
            let unblocked: Vec<u32> =
                self.run.tasks.iter().filter(waits).map(|task| task.index).collect();
            for task in unblocked {
                self.event(Event::TaskReady { task, not_before: None });
            }
        }
        if self.run.tasks.iter().all(|task| task.state.is_settled()) {
            self.event(Event::RunCompleted);
        } else {
            self.rest(now);
        }
    }

    /// Suspends a run in which nothing goes on without a person.
    fn rest(&mut self, now: Timestamp) {
        let any = |is: fn(&Task) -> bool| self.run.tasks.iter().any(is);
        if self.run.state != RunState::Running {
            return;
        }
        if any(|task| task.state == TaskState::Paused) && !any(|task| task.state.is_moving()) {
            self.event(Event::RunSuspended { at: now });
        }
    }

    fn is_settled(&self, depends_on: &[u32]) -> bool {
        depends_on
            .iter()
            .all(|&index| self.run.task(index).is_none_or(|task| task.state.is_settled()))
    }

    fn offer(&mut self, tasks: &[u32], now: Timestamp) -> Result<(), Refused> {
        let wanted = |task: &&Task| tasks.contains(&task.index) && task.is_offerable(now);
        let offered: Vec<u32> =
            self.run.tasks.iter().filter(wanted).map(|task| task.index).collect();
        if offered.is_empty() {
            return Err(Refused::NotReady);
        }
        for task in offered {
            self.event(Event::TaskDispatched { task, at: now });
            let dispatch = self.run.task(task).map_or(0, |task| task.dispatches);
            self.decision.effects.push(Effect::Dispatch { task, dispatch });
        }
        Ok(())
    }

    /// Ends the run: what still runs is stopped, what still waits never starts.
    fn end(&mut self, event: Event) {
        let open = self.run.tasks.iter().filter(|task| !task.state.is_terminal());
        let open: Vec<u32> = open.map(|task| task.index).collect();
        for task in open {
            self.stop(task);
            self.event(Event::TaskCancelled { task });
        }
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        self.run.apply(&event);
        self.decision.events.push(event);
    }
}
