//! State machines that are wrong, each in one way: every invariant has to catch one.

use std::collections::BTreeSet;

use flowcell_domain::id::WorkerEpoch;
use flowcell_domain::run::{
    Command, Decision, Event, Outcome, Refused, Run, RunState, TaskState, decide,
};
use flowcell_domain::time::Timestamp;

use crate::invariant::Invariant;
use crate::seeds::world;
use crate::world::Program;

/// Seeds that are tried until one finds it.
const SEEDS: u64 = 400;

type Decided = Result<Decision, Refused>;

fn with(decide: fn(&Run, &Command, Timestamp) -> Decided) -> Program {
    Program { decide, ..Program::default() }
}

fn only(event: Event) -> Decided {
    Ok(Decision { events: vec![event], effects: Vec::new() })
}

#[test]
fn each_invariant_catches_a_state_machine_that_breaks_it() {
    use Invariant as I;
    let unguarded = Program { is_guarded: false, ..Program::default() };
    let blind = Program { knows_offers: false, ..Program::default() };
    let early = Program { commits_first: false, ..Program::default() };
    let table = [
        (I::EveryRunEnds, "forgets what was lost and the deadline", with(forgetful)),
        (I::AResultCountsOnce, "takes a repeated report for another", with(counts_twice)),
        (I::TheAcceptedAttemptIsTheLast, "accepts a stale attempt", with(accepts_stale)),
        (I::NeedsComeFirst, "starts everything at once", with(hasty)),
        (I::NothingAfterTheEnd, "grants a claim after the cancel", with(grants_after_cancel)),
        (I::ATenantKeepsToItsSlots, "grants what an offer of an earlier attempt names", blind),
        (I::AnAcceptedRunIsStored, "answers before it commits", early),
        (I::OnlyTheHolderReports, "skips the fence of the worker", with(unfenced)),
        (I::AttemptsGrow, "counts attempts from one again", with(reuses_numbers)),
        (I::AResultCountsOnce, "commits what was decided about an older state", unguarded),
        (I::FinishedStaysFinished, "replans what is done", with(replans_done)),
        (I::PeopleAreWaitedFor, "never suspends", with(never_rests)),
        (I::APausedRunRests, "leaves tasks ready in a pause", with(holds_nothing)),
        (I::NothingIsLeft, "leaves tasks open at a cancel", with(leaves_tasks)),
    ];
    for (invariant, how, program) in table {
        let mut found = BTreeSet::new();
        let is_caught = (0..SEEDS).any(|seed| {
            found.extend(world(seed, program, false).violation.map(|broken| broken.invariant));
            found.contains(&invariant)
        });
        assert!(is_caught, "one that {how} is not caught: {found:?}");
    }
}

#[test]
fn a_log_that_lacks_an_event_gives_another_state() {
    let whole = world(0, Program::default(), false);
    let (first, log) = (&whole.first[0], &whole.database.logs[0]);
    let run = &whole.database.runs[0];
    let without = |index: usize| [&log[..index], &log[index + 1..]].concat();
    let is_noticed = |index| {
        let checked = crate::invariant::at_end(first, &without(index), run);
        checked.is_err_and(|violation| violation.invariant == Invariant::ReplayIsTheSame)
    };
    assert!((0..log.len()).any(is_noticed), "{log:?}");
}

fn forgetful(run: &Run, command: &Command, now: Timestamp) -> Decided {
    if matches!(command, Command::Lost { .. }) {
        return Err(Refused::Stale);
    }
    let decision = decide(run, command, now)?;
    let ends = decision.events.contains(&Event::RunTimedOut);
    if ends { Err(Refused::NotReady) } else { Ok(decision) }
}

/// A report of a result: task and attempt, when it is one.
fn result(command: &Command) -> Option<(u32, u32, WorkerEpoch)> {
    match command {
        Command::Finish { task, attempt, worker, outcome: Outcome::Done { .. } } => {
            Some((*task, *attempt, *worker))
        }
        _ => None,
    }
}

fn counts_twice(run: &Run, command: &Command, now: Timestamp) -> Decided {
    match (decide(run, command, now), result(command)) {
        (Err(Refused::AlreadyDone), Some((task, attempt, _))) => {
            only(Event::TaskDone { task, attempt })
        }
        (decided, _) => decided,
    }
}

fn accepts_stale(run: &Run, command: &Command, now: Timestamp) -> Decided {
    match (decide(run, command, now), result(command)) {
        (Err(Refused::Stale), Some((task, attempt, _))) => only(Event::TaskDone { task, attempt }),
        (decided, _) => decided,
    }
}

fn hasty(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    if matches!(command, Command::Start { .. }) && decision.events.contains(&Event::RunStarted) {
        let waiting = run.tasks.iter().filter(|task| !task.depends_on.is_empty());
        let ready = waiting.map(|task| Event::TaskReady { task: task.index, not_before: None });
        decision.events.extend(ready);
    }
    Ok(decision)
}

fn grants_after_cancel(run: &Run, command: &Command, now: Timestamp) -> Decided {
    match (decide(run, command, now), command) {
        (Err(Refused::RunEnded), Command::Claim { task, worker }) => {
            let attempt = run.task(*task).map_or(1, |task| task.attempt + 1);
            only(Event::TaskLeased { task: *task, attempt, worker: *worker, at: now })
        }
        (decided, _) => decided,
    }
}

fn unfenced(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut command = command.clone();
    if let Command::Finish { task, attempt, worker, .. } = &mut command
        && let Some(found) = run.task(*task)
        && let Some(lease) = found.lease
    {
        (*attempt, *worker) = (found.attempt, lease.worker);
    }
    decide(run, &command, now)
}

fn reuses_numbers(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    for event in &mut decision.events {
        if let Event::TaskLeased { attempt, .. } = event {
            *attempt = 1;
        }
    }
    Ok(decision)
}

fn replans_done(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    let done = run.tasks.iter().filter(|task| task.state == TaskState::Done);
    for event in &mut decision.events {
        if let Event::Replanned { replaced, .. } = event {
            replaced.extend(done.clone().map(|task| task.index));
        }
    }
    Ok(decision)
}

fn never_rests(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    decision.events.retain(|event| !matches!(event, Event::RunSuspended { .. }));
    Ok(decision)
}

fn holds_nothing(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    decision.events.retain(|event| !matches!(event, Event::TaskHeld { .. }));
    Ok(decision)
}

fn leaves_tasks(run: &Run, command: &Command, now: Timestamp) -> Decided {
    let mut decision = decide(run, command, now)?;
    if run.state != RunState::Queued && decision.events.contains(&Event::RunCancelled) {
        decision.events.retain(|event| !matches!(event, Event::TaskCancelled { .. }));
    }
    Ok(decision)
}
