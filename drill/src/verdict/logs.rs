//! Event logs.

use std::collections::BTreeMap;

use super::{Check, Evidence};
use crate::follow::{Log, kind};
use crate::load::Submitted;
use crate::time::Millis;

/// The log of an ended run is moved into the database a minute later; until then NATS has it.
const ON_THE_BUS_MS: Millis = 90_000;

const LAST: [&str; 4] = ["run.completed", "run.failed", "run.cancelled", "run.timed_out"];

pub(super) fn logs_are_whole(evidence: &Evidence) -> Check {
    let mut check = Check::new(
        "every event log is whole, the same for everybody, and ends once (its beginning may be \
         lost where NATS lost its store)",
    );
    for run in &evidence.submitted {
        let (Some(followed), Some(id)) = (&run.followed, run.ids.first()) else { continue };
        let again = evidence.read_again.get(id);
        let problems = match may_be_cut(run, evidence) {
            true => ends_twice(&followed.live).into_iter().collect(),
            false => problems(&followed.live, again),
        };
        check.look(problems.into_iter().map(|problem| format!("{} ({id}): {problem}", run.key)));
    }
    check
}

/// Whether NATS lost its store while the log was there.
pub(crate) fn may_be_cut(run: &Submitted, evidence: &Evidence) -> bool {
    let row = evidence.rows.runs.iter().find(|row| run.ids.contains(&row.id));
    let Some(ended) = row.and_then(|row| row.ended) else { return true };
    let wipes = &evidence.wipes;
    wipes.iter().any(|(from, until)| run.accepted_at <= *until && ended + ON_THE_BUS_MS >= *from)
}

fn problems(live: &Log, again: Option<&Log>) -> Vec<String> {
    let mut problems = live.irregular.clone();
    let last = live.events.last_key_value().map_or("", |(_, event)| kind(event));
    if !LAST.contains(&last) {
        problems.push(format!("it ends with {last:?}"));
    }
    problems.extend(ends_twice(live));
    problems.extend(done_twice(live));
    match again {
        None => problems.push("it could not be read again".to_owned()),
        Some(again) if again.events != live.events => problems.push(format!(
            "it had {} events and has {}",
            live.events.len(),
            again.events.len()
        )),
        Some(_) => {}
    }
    problems
}

fn ends_twice(log: &Log) -> Option<String> {
    let ends = log.kinds().filter(|kind| LAST.contains(kind)).count();
    (ends > 1).then(|| format!("it ends {ends} times"))
}

fn done_twice(log: &Log) -> Option<String> {
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    for event in log.events.values().filter(|event| kind(event) == "task.done") {
        let cell = event.get("cell").and_then(|cell| cell.as_str()).unwrap_or_default();
        *done.entry(cell).or_default() += 1;
    }
    done.retain(|_, count| *count > 1);
    (!done.is_empty()).then(|| format!("cells are done more than once: {done:?}"))
}
