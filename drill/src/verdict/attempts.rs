//! Tasks, their attempts, and what these did outside of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Evidence};
use crate::database::AttemptRow;
use crate::flow::COUNTED;

/// Failures that are nobody's but the platform's.
const INFRASTRUCTURE: [&str; 3] = ["worker_lost", "start_failed", "internal"];

type Task<'a> = (&'a str, &'a str);

/// The attempts of each task, first to last.
fn by_task(evidence: &Evidence) -> BTreeMap<Task<'_>, Vec<&AttemptRow>> {
    let mut tasks: BTreeMap<Task<'_>, Vec<&AttemptRow>> = BTreeMap::new();
    for row in &evidence.rows.attempts {
        tasks.entry((&row.run, &row.cell)).or_default().push(row);
    }
    tasks
}

pub(super) fn finished_tasks_stay_finished(evidence: &Evidence) -> Check {
    let mut check = Check::new("no task that is done is done again");
    for ((run, cell), attempts) in by_task(evidence) {
        let done = |row: &&&AttemptRow| row.outcome.as_deref() == Some("done");
        let count = attempts.iter().filter(done).count();
        let last = attempts.last().is_some_and(|last| done(&last));
        let problem = (count > 1 || (count == 1 && !last)).then(|| {
            let outcomes: Vec<&str> =
                attempts.iter().map(|row| row.outcome.as_deref().unwrap_or("open")).collect();
            format!("{run} {cell}: its attempts are {outcomes:?}")
        });
        check.look(problem);
    }
    check
}

pub(super) fn further_attempts_have_a_reason(evidence: &Evidence) -> Check {
    let mut check = Check::new("every further attempt follows one that the platform lost");
    for ((run, cell), attempts) in by_task(evidence) {
        for (row, number) in attempts.iter().zip(1..) {
            if row.attempt != number {
                check.look([format!("{run} {cell}: attempt {} has number {number}", row.attempt)]);
            }
        }
        let Some((_, before)) = attempts.split_last() else { continue };
        for row in before {
            let failure = row.failure.as_deref().unwrap_or("none");
            let lost = row.ended.is_some() && INFRASTRUCTURE.contains(&failure);
            check.look(
                (!lost)
                    .then(|| format!("{run} {cell}: attempt {} failed as {failure}", row.attempt)),
            );
        }
    }
    check
}

pub(super) fn executions_have_an_attempt(evidence: &Evidence) -> Check {
    let mut check = Check::new("a cell is executed at most once per attempt");
    let tasks = by_task(evidence);
    for run in &evidence.submitted {
        let Some(id) = run.ids.first() else { continue };
        for cell in COUNTED {
            let executed = evidence.counted.get(&(run.key.clone(), cell.to_owned()));
            let executed = executed.map_or(0, Vec::len);
            let name = format!("Count-{cell}");
            let attempts = tasks.get(&(id.as_str(), name.as_str())).map_or(0, Vec::len);
            check.look((executed > attempts).then(|| {
                format!("{} {cell}: executed {executed} times in {attempts} attempts", run.key)
            }));
        }
    }
    check
}

pub(super) fn results_count_once(evidence: &Evidence) -> Check {
    let mut check = Check::new("whoever needs a cell's result gets the same one");
    for ((key, cell), executions) in &evidence.counted {
        let inputs: BTreeSet<&str> =
            executions.iter().map(|execution| execution.input.as_str()).collect();
        check.look((inputs.len() != 1).then(|| format!("{key} {cell}: it got {inputs:?}")));
    }
    check
}
