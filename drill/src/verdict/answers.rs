//! Runs and their answers.

use std::collections::BTreeMap;

use proto::http::RunView;
use serde_json::Value;

use super::{Check, Evidence};
use crate::effects::{Counted, passed_on};
use crate::flow::COUNTED;
use crate::load::Submitted;

/// What Chat Input and Chat Output say.
const MESSAGES: i64 = 2;

const ANSWER: &str = "/outputs/0/outputs/0/results/message/text";

pub(super) fn accepted_runs_end(evidence: &Evidence) -> Check {
    let mut check = Check::new("every run that was submitted is accepted and ends");
    for run in &evidence.submitted {
        let problem = match (&run.refused, &run.followed) {
            (Some(why), _) => Some(format!("{}: {why}", named(run))),
            (None, None) => Some(format!("{}: no end was seen", named(run))),
            (None, Some(_)) => None,
        };
        check.look(problem);
    }
    check
}

pub(super) fn answers_are_right(evidence: &Evidence) -> Check {
    let mut check = Check::new("every run is answered rightly");
    for run in &evidence.submitted {
        if let Some(followed) = &run.followed {
            let wrong = wrong_answer(&run.key, &followed.view, &evidence.counted);
            check.look(wrong.map(|wrong| format!("{}: {wrong}", named(run))));
        }
    }
    check
}

fn wrong_answer(key: &str, view: &RunView, counted: &Counted) -> Option<String> {
    if view.state != "completed" {
        let failure = serde_json::to_string(&view.failure).unwrap_or_default();
        return Some(format!("it is {}: {failure}", view.state));
    }
    let answer = view.result.as_ref().and_then(|result| result.pointer(ANSWER));
    let answer = answer.and_then(Value::as_str).unwrap_or_default();
    (!possible(key, counted).iter().any(|possible| possible == answer))
        .then(|| format!("the answer is {answer:?}"))
}

/// The answers that executions which were counted can have led to.
fn possible(key: &str, counted: &Counted) -> Vec<String> {
    COUNTED.iter().fold(vec![key.to_owned()], |before, cell| {
        let executions = counted.get(&(key.to_owned(), (*cell).to_owned()));
        let numbered = executions.into_iter().flatten().zip(1..);
        numbered
            .filter(|(execution, _)| before.contains(&execution.input))
            .map(|(execution, number)| passed_on(&execution.input, cell, number))
            .collect()
    })
}

pub(super) fn a_key_is_one_run(evidence: &Evidence) -> Check {
    let mut check = Check::new("an idempotency key is one run, however often it is submitted");
    let mut stored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &evidence.rows.runs {
        stored.entry(row.key.as_deref().unwrap_or_default()).or_default().push(&row.id);
    }
    for run in &evidence.submitted {
        let in_database = stored.remove(run.key.as_str()).unwrap_or_default();
        let told: Vec<&str> = run.ids.iter().map(String::as_str).collect();
        let same = told == in_database && told.len() == 1;
        check.look(
            (!same)
                .then(|| format!("{}: told {told:?}, the database has {in_database:?}", run.key)),
        );
    }
    for (key, ids) in stored {
        check.look([format!("nobody submitted {key:?}, and the database has {ids:?}")]);
    }
    check
}

/// A further attempt says anew what a lost one has said: the same messages, not more.
pub(super) fn messages_are_stored(evidence: &Evidence) -> Check {
    let mut check = Check::new("every chat message is stored once");
    for row in evidence.rows.runs.iter().filter(|row| row.state == "completed") {
        check.look((row.messages != MESSAGES).then(|| {
            let key = row.key.as_deref().unwrap_or_default();
            format!("{key} ({}): {} messages, not {MESSAGES}", row.id, row.messages)
        }));
    }
    check
}

/// A run as the logs name it.
fn named(run: &Submitted) -> String {
    let ids: Vec<&str> = run.ids.iter().map(String::as_str).collect();
    format!("{} ({})", run.key, ids.join(", "))
}
