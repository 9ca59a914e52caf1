//! What was promised, compared with what clients saw, what was counted, and what the database
//! says.

pub(crate) mod answers;
mod attempts;
pub(crate) mod logs;
mod remains;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::database::Rows;
use crate::effects::Counted;
use crate::follow::Log;
use crate::load::Submitted;
use crate::time::Millis;

/// Everything that is known when all is over.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) submitted: Vec<Submitted>,
    pub(crate) counted: Counted,
    pub(crate) rows: Rows,
    /// The logs as they are read after the end, by run.
    pub(crate) read_again: BTreeMap<String, Log>,
    /// When NATS lost its store: from, until.
    pub(crate) wipes: Vec<(Millis, Millis)>,
    /// Containers, processes and the like that should be gone, and processes that did not end well.
    pub(crate) remains: Vec<String>,
}

/// One promise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) promise: &'static str,
    /// How many things were looked at.
    pub(crate) looked_at: usize,
    /// What broke it.
    pub(crate) broken: Vec<String>,
}

impl Check {
    fn new(promise: &'static str) -> Self {
        Self { promise, looked_at: 0, broken: Vec::new() }
    }

    /// Looks at one more thing.
    fn look(&mut self, problems: impl IntoIterator<Item = String>) {
        self.looked_at += 1;
        self.broken.extend(problems);
    }
}

/// All promises, each with what broke it.
pub(crate) fn checks(evidence: &Evidence) -> Vec<Check> {
    vec![
        answers::accepted_runs_end(evidence),
        answers::answers_are_right(evidence),
        answers::a_key_is_one_run(evidence),
        attempts::finished_tasks_stay_finished(evidence),
        attempts::further_attempts_have_a_reason(evidence),
        attempts::executions_have_an_attempt(evidence),
        attempts::results_count_once(evidence),
        answers::messages_are_stored(evidence),
        logs::logs_are_whole(evidence),
        remains::nothing_is_left(evidence),
    ]
}
