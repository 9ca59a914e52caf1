//! Runs that somebody pauses: what ran goes on to its end, nothing else begins, their time stands
//! still, and they take their turn again.

use flowcell_domain::failure::{Failure, FailureKind};
use flowcell_domain::id::{RunId, WorkerEpoch};
use flowcell_domain::retry::RetryPolicy;
use flowcell_domain::run::{Command, Event, Outcome, Refused, Run, RunState, TaskState, decide};
use flowcell_domain::time::Timestamp;
use uuid::Uuid;

const WORKER: WorkerEpoch = WorkerEpoch(Uuid::from_u128(9));

/// Two tasks side by side, and one that needs both.
fn queued() -> Run {
    let needs = vec![vec![], vec![], vec![0, 1]];
    Run::queued(RunId(Uuid::from_u128(1)), needs, Timestamp(10_000), RetryPolicy::default())
}

/// What a scheduler does; a claim follows an offer.
fn step(run: &mut Run, command: Command, now: i64) -> Vec<Event> {
    if let Command::Claim { task, .. } = command
        && run.tasks.get(task as usize).is_some_and(|task| task.dispatched.is_none())
    {
        step(run, Command::Offer { tasks: vec![task] }, now);
    }
    let decision = decide(run, &command, Timestamp(now)).expect("the command is refused");
    decision.events.iter().for_each(|event| run.apply(event));
    decision.events
}

fn start() -> Command {
    Command::Start { skip: Vec::new() }
}

fn claim(task: u32) -> Command {
    Command::Claim { task, worker: WORKER }
}

fn finish(task: u32, attempt: u32, outcome: Outcome) -> Command {
    Command::Finish { task, attempt, worker: WORKER, outcome }
}

fn done(task: u32) -> Command {
    finish(task, 1, Outcome::Done { skip: Vec::new() })
}

fn failed(task: u32, kind: FailureKind) -> Command {
    finish(task, 1, Outcome::Failed(Failure::new(kind, "m")))
}

fn states(run: &Run) -> Vec<TaskState> {
    run.tasks.iter().map(|task| task.state).collect()
}

/// One task runs, another was offered.
fn under_way() -> Run {
    let mut run = queued();
    step(&mut run, start(), 0);
    step(&mut run, claim(0), 0);
    step(&mut run, Command::Offer { tasks: vec![1] }, 0);
    run
}

#[test]
fn what_runs_goes_on_and_nothing_else_begins() {
    let mut run = under_way();
    step(&mut run, Command::Pause, 1_000);
    assert_eq!(run.state, RunState::Paused);
    assert_eq!(states(&run), [TaskState::Leased, TaskState::Waiting, TaskState::Waiting]);
    let now = Timestamp(2_000);
    assert_eq!(decide(&run, &claim(1), now), Err(Refused::NotReady), "its offer was on the way");
    assert_eq!(decide(&run, &Command::Offer { tasks: vec![1] }, now), Err(Refused::NotReady));
    assert_eq!(decide(&run, &start(), now), Err(Refused::AlreadyDone));
    assert_eq!(decide(&run, &Command::Pause, now), Err(Refused::AlreadyDone));
    step(&mut run, done(0), 2_000);
    assert_eq!(states(&run), [TaskState::Done, TaskState::Waiting, TaskState::Waiting]);
    assert_eq!(run.state, RunState::Paused);
}

#[test]
fn its_time_stands_still_and_it_takes_its_turn_again() {
    let mut run = under_way();
    step(&mut run, Command::Pause, 1_000);
    let wake = decide(&run, &Command::Wake, Timestamp(60_000)).unwrap();
    assert!(wake.events.is_empty(), "{:?}", wake.events);
    step(&mut run, Command::Unpause, 61_000);
    assert_eq!((run.state, run.deadline), (RunState::Queued, Timestamp(70_000)));
    assert_eq!(states(&run)[1], TaskState::Waiting, "limits on open runs hold for it too");
    assert_eq!(decide(&run, &Command::Unpause, Timestamp(61_000)), Err(Refused::AlreadyDone));
    step(&mut run, done(0), 61_500);
    step(&mut run, start(), 62_000);
    assert_eq!(run.state, RunState::Running);
    assert_eq!(states(&run), [TaskState::Done, TaskState::Ready, TaskState::Waiting]);
    for task in [1, 2] {
        step(&mut run, claim(task), 63_000);
        step(&mut run, done(task), 63_000);
    }
    assert_eq!(run.state, RunState::Completed);
    let late = decide(&under_way(), &Command::Wake, Timestamp(10_000)).unwrap();
    assert_eq!(late.events.last(), Some(&Event::RunTimedOut));
}

#[test]
fn a_run_can_be_paused_before_it_starts() {
    let mut run = queued();
    step(&mut run, Command::Pause, 0);
    assert_eq!(decide(&run, &start(), Timestamp(1)), Err(Refused::AlreadyDone));
    step(&mut run, Command::Unpause, 5);
    step(&mut run, start(), 6);
    assert_eq!(states(&run), [TaskState::Ready, TaskState::Ready, TaskState::Waiting]);
}

#[test]
fn a_failed_attempt_waits_for_its_next_and_a_failed_task_ends_the_run() {
    let mut run = under_way();
    step(&mut run, Command::Pause, 1_000);
    let mut lost = run.clone();
    step(&mut lost, failed(0, FailureKind::StartFailed), 1_500);
    assert_eq!((lost.state, states(&lost)[0]), (RunState::Paused, TaskState::Waiting));
    step(&mut lost, Command::Unpause, 2_000);
    step(&mut lost, start(), 2_000);
    step(&mut lost, claim(0), 2_000);
    assert_eq!(lost.tasks[0].attempt, 2);
    step(&mut run, failed(0, FailureKind::InputInvalid), 1_500);
    assert_eq!((run.state, states(&run)[1]), (RunState::Failed, TaskState::Cancelled));
}

#[test]
fn the_last_task_completes_a_paused_run() {
    let mut run = under_way();
    step(&mut run, claim(1), 0);
    step(&mut run, done(0), 0);
    step(&mut run, done(1), 0);
    step(&mut run, claim(2), 0);
    let mut again = run.clone();
    step(&mut run, Command::Pause, 1);
    step(&mut run, done(2), 2);
    assert_eq!((run.state, run.suspended), (RunState::Completed, None));
    step(&mut again, Command::Pause, 1);
    step(&mut again, Command::Unpause, 2);
    step(&mut again, done(2), 3);
    assert_eq!(again.state, RunState::Completed, "queued again, it has nothing left to do");
}

#[test]
fn a_paused_run_can_be_cancelled() {
    let mut run = under_way();
    step(&mut run, Command::Pause, 1_000);
    let decision = decide(&run, &Command::Cancel, Timestamp(99_000)).unwrap();
    decision.events.iter().for_each(|event| run.apply(event));
    assert_eq!((run.state, run.suspended), (RunState::Cancelled, None));
    assert_eq!(decision.effects.len(), 1, "what runs is stopped");
    assert_eq!(decide(&run, &Command::Unpause, Timestamp(0)), Err(Refused::RunEnded));
}

#[test]
fn a_run_that_waits_for_a_person_can_be_paused_and_answered() {
    let mut run = queued();
    step(&mut run, start(), 0);
    for task in [0, 1] {
        step(&mut run, claim(task), 0);
    }
    step(&mut run, done(1), 0);
    step(&mut run, finish(0, 1, Outcome::Paused), 1_000);
    assert_eq!(run.state, RunState::Suspended);
    step(&mut run, Command::Pause, 5_000);
    assert_eq!(run.suspended, Some(Timestamp(1_000)), "its time has stood still since then");
    let mut unanswered = run.clone();
    step(&mut run, Command::Answer { tasks: vec![0] }, 6_000);
    assert_eq!((run.state, states(&run)[0]), (RunState::Paused, TaskState::Waiting));
    step(&mut run, Command::Unpause, 11_000);
    assert_eq!(run.deadline, Timestamp(20_000));
    step(&mut run, start(), 11_000);
    assert_eq!(states(&run)[0], TaskState::Ready);
    step(&mut unanswered, Command::Unpause, 11_000);
    step(&mut unanswered, start(), 12_000);
    assert_eq!(unanswered.state, RunState::Suspended);
}
