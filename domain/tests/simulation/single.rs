//! Single situations, step by step.

use std::time::Duration;

use flowcell_domain::id::{RunId, WorkerEpoch};
use flowcell_domain::retry::RetryPolicy;
use flowcell_domain::run::{Command, Event, Outcome, Refused, Run, RunState, TaskState, decide};
use flowcell_domain::time::Timestamp;
use uuid::Uuid;

#[test]
fn a_deadline_beats_everything_but_a_cancel() {
    let mut run = Run::queued(
        RunId(Uuid::from_u128(1)),
        vec![vec![]],
        Timestamp(0) + Duration::from_secs(5),
        RetryPolicy::default(),
    );
    for event in decide(&run, &Command::Start { skip: Vec::new() }, Timestamp(0)).unwrap().events {
        run.apply(&event);
    }
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let claim = Command::Claim { task: 0, worker };
    let late = decide(&run, &claim, Timestamp(5_000)).unwrap();
    assert_eq!(late.events.last(), Some(&Event::RunTimedOut));
    let cancelled = decide(&run, &Command::Cancel, Timestamp(5_000)).unwrap();
    assert_eq!(cancelled.events.last(), Some(&Event::RunCancelled));
}

#[test]
fn waiting_for_a_person_takes_nothing_from_the_deadline() {
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let mut run = Run::queued(
        RunId(Uuid::from_u128(1)),
        vec![vec![], vec![0]],
        Timestamp(5_000),
        RetryPolicy::default(),
    );
    let step = |run: &mut Run, command: Command, now: i64| {
        let events = decide(run, &command, Timestamp(now)).unwrap().events;
        events.iter().for_each(|event| run.apply(event));
        events
    };
    step(&mut run, Command::Start { skip: Vec::new() }, 0);
    step(&mut run, Command::Claim { task: 0, worker }, 0);
    let asks = Command::Finish { task: 0, attempt: 1, worker, outcome: Outcome::Paused };
    step(&mut run, asks.clone(), 1_000);
    assert_eq!((run.state, run.tasks[0].state), (RunState::Suspended, TaskState::Paused));
    assert_eq!(decide(&run, &asks, Timestamp(1_000)), Err(Refused::AlreadyDone));
    // Long after its deadline nothing happens to it, whatever the clock says.
    assert_eq!(step(&mut run, Command::Wake, 900_000), []);
    let answer = Command::Answer { tasks: vec![0] };
    step(&mut run, answer.clone(), 901_000);
    assert_eq!((run.state, run.deadline), (RunState::Running, Timestamp(905_000)));
    assert_eq!(decide(&run, &answer, Timestamp(901_000)), Err(Refused::AlreadyDone));
    let late = decide(&run, &Command::Wake, Timestamp(905_000)).unwrap();
    assert_eq!(late.events.last(), Some(&Event::RunTimedOut));
    step(&mut run, Command::Claim { task: 0, worker }, 902_000);
    assert_eq!(run.tasks[0].attempt, 2);
}

#[test]
fn a_suspended_run_can_be_cancelled() {
    let worker = WorkerEpoch(Uuid::from_u128(9));
    let retry = RetryPolicy::default();
    let mut run = Run::queued(RunId(Uuid::from_u128(1)), vec![vec![]], Timestamp(5_000), retry);
    let asks = Command::Finish { task: 0, attempt: 1, worker, outcome: Outcome::Paused };
    let claim = Command::Claim { task: 0, worker };
    for command in [Command::Start { skip: Vec::new() }, claim, asks, Command::Cancel] {
        let events = decide(&run, &command, Timestamp(0)).unwrap().events;
        events.iter().for_each(|event| run.apply(event));
    }
    assert_eq!((run.state, run.tasks[0].state), (RunState::Cancelled, TaskState::Cancelled));
    let answer = Command::Answer { tasks: vec![0] };
    assert_eq!(decide(&run, &answer, Timestamp(0)), Err(Refused::RunEnded));
}
