//! What must hold whatever goes wrong, by name; checked at every event and at the end.

use flowcell_domain::id::WorkerEpoch;
use flowcell_domain::run::{Event, Run, RunState, Task, TaskState};

/// The names; the first seven have their number in `docs/FAILURES.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// I1
    EveryRunEnds,
    /// I2
    AResultCountsOnce,
    /// I3
    TheAcceptedAttemptIsTheLast,
    /// I4
    NeedsComeFirst,
    /// I5
    NothingAfterTheEnd,
    /// I6
    ATenantKeepsToItsSlots,
    /// I7
    AnAcceptedRunIsStored,
    /// A result is taken of who holds the attempt, of nobody else.
    OnlyTheHolderReports,
    /// Numbers of attempts only grow, and only a ready task is handed out.
    AttemptsGrow,
    /// A finished task is neither run nor planned again.
    FinishedStaysFinished,
    /// A run is suspended exactly while only a person can move it, and has all the time meanwhile.
    PeopleAreWaitedFor,
    /// Nothing of a paused run begins, and it has all the time.
    APausedRunRests,
    /// A run ends once, and nothing of it is held afterwards.
    NothingIsLeft,
    /// The log alone gives the same state.
    ReplayIsTheSame,
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

pub(crate) type Checked = Result<(), Violation>;

pub(crate) fn hold(invariant: Invariant, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// One event, before it is applied: the run and its log are as they were.
pub(crate) fn at_event(run: &Run, log: &[Event], event: &Event) -> Checked {
    use Invariant as I;
    hold(I::NothingAfterTheEnd, !run.state.is_terminal(), || format!("{event:?}"))?;
    let goes_on = matches!(
        event,
        Event::TaskDispatched { .. } | Event::TaskLeased { .. } | Event::RunTimedOut
    );
    let rests = run.state != RunState::Paused || !goes_on;
    hold(I::APausedRunRests, rests, || format!("{event:?}"))?;
    match event {
        Event::TaskLeased { task, attempt, .. } => leased(run, log, *task, *attempt),
        Event::TaskDone { task, attempt } => done(log, *task, *attempt),
        Event::Replanned { replaced, .. } => {
            let finished = replaced.iter().find(|task| is_done(log, **task));
            hold(I::FinishedStaysFinished, finished.is_none(), || format!("replanned {finished:?}"))
        }
        Event::RunTimedOut => {
            let waits = run.state == RunState::Suspended;
            hold(I::PeopleAreWaitedFor, !waits, || "a person was not waited for".to_owned())
        }
        _ => Ok(()),
    }
}

fn leased(run: &Run, log: &[Event], task: u32, attempt: u32) -> Checked {
    use Invariant as I;
    let found = run.task(task).unwrap();
    let settled = |need: &u32| run.task(*need).unwrap().state.is_settled();
    let what = || format!("attempt {attempt} of {found:?}");
    hold(I::NeedsComeFirst, found.depends_on.iter().all(settled), what)?;
    hold(I::FinishedStaysFinished, !is_done(log, task), what)?;
    hold(I::AttemptsGrow, attempt == last_granted(log, task) + 1, what)?;
    hold(I::AttemptsGrow, found.state == TaskState::Ready, what)
}

fn done(log: &[Event], task: u32, attempt: u32) -> Checked {
    use Invariant as I;
    let what = || format!("attempt {attempt} of task {task}: {log:?}");
    hold(I::AResultCountsOnce, !is_done(log, task), what)?;
    hold(I::TheAcceptedAttemptIsTheLast, attempt == last_granted(log, task), what)
}

fn is_done(log: &[Event], task: u32) -> bool {
    log.iter().any(|event| matches!(event, Event::TaskDone { task: done, .. } if *done == task))
}

fn last_granted(log: &[Event], task: u32) -> u32 {
    let granted = log.iter().rev().find_map(|event| match event {
        Event::TaskLeased { task: of, attempt, .. } if *of == task => Some(*attempt),
        _ => None,
    });
    granted.unwrap_or(0)
}

/// A result that was taken: was it the holder's?
pub(crate) fn at_report(before: &Run, events: &[Event], task: u32, worker: WorkerEpoch) -> Checked {
    let is_taken = events.iter().any(|event| matches!(event, Event::TaskDone { .. }));
    let lease = before.task(task).and_then(|task| task.lease);
    let is_holder = lease.is_some_and(|lease| lease.worker == worker);
    let what = || format!("{worker:?} is not {lease:?}");
    hold(Invariant::OnlyTheHolderReports, !is_taken || is_holder, what)
}

/// A run after a decision.
pub(crate) fn at_rest(run: &Run) -> Checked {
    let any = |is: fn(&Task) -> bool| run.tasks.iter().any(is);
    let rests = any(|task| task.state == TaskState::Paused) && !any(|task| task.state.is_moving());
    let is_suspended = run.state == RunState::Suspended && run.suspended.is_some();
    let is_neither = run.state != RunState::Suspended && run.suspended.is_none();
    let agrees = match run.state {
        RunState::Paused => run.suspended.is_some(),
        // Unpaused: it takes its turn before it is found to rest.
        RunState::Queued => is_neither,
        _ if rests => is_suspended,
        _ => is_neither,
    };
    hold(Invariant::PeopleAreWaitedFor, agrees, || format!("{run:?}"))
}

/// A run when the world is over.
pub(crate) fn at_end(first: &Run, log: &[Event], run: &Run) -> Checked {
    use Invariant as I;
    let what = || format!("{run:?}");
    hold(I::EveryRunEnds, run.state.is_terminal(), what)?;
    let is_end = |event: &&Event| {
        matches!(
            event,
            Event::RunCompleted
                | Event::RunFailed { .. }
                | Event::RunCancelled
                | Event::RunTimedOut
        )
    };
    hold(I::NothingIsLeft, log.iter().filter(is_end).count() == 1, what)?;
    let ended = |task: &Task| match run.state {
        RunState::Completed => task.state.is_settled(),
        _ => task.state.is_terminal(),
    };
    let is_free = |task: &Task| task.lease.is_none() && ended(task);
    hold(I::NothingIsLeft, run.tasks.iter().all(is_free), what)?;
    let mut replayed = first.clone();
    log.iter().for_each(|event| replayed.apply(event));
    hold(I::ReplayIsTheSame, replayed == *run, || format!("{replayed:?} is not {run:?}"))
}
