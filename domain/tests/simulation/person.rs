//! People: some attempts ask one, who takes anything up to hours and may say it twice; some runs are
//! paused by one.

use flowcell_domain::run::{Command, RunState, TaskState};
use rand::RngExt;

use crate::message::{Attempt, Message};
use crate::world::{RUNS, World};

impl World {
    pub(crate) fn ask(&mut self, attempt: Attempt) {
        let (run, task, _) = attempt;
        let slowest = if self.rng.random_bool(0.05) { 2_000_000 } else { 20_000 };
        let at = self.now + self.rng.random_range(1..slowest);
        self.decided.insert(attempt, at);
        for _ in 0..self.rng.random_range(0..3) {
            self.flying.push((at, Message::Answered { run, task }));
        }
    }

    /// What a scheduler does when it hears of a decision: nothing, if there is none in the store.
    pub(crate) fn answer(&mut self, run: usize, task: u32) {
        // A failover may have taken back the plan that the task is of.
        let Some(found) = self.database.runs[run].task(task) else { return };
        let asked = (run, task, found.attempt);
        if self.decided.get(&asked).is_some_and(|at| *at <= self.now) {
            let _ = self.command(run, &Command::Answer { tasks: vec![task] });
        }
    }

    /// What the sweep does about decisions that nobody was told of.
    pub(crate) fn tick_decisions(&mut self) {
        let due = self.decided.iter().filter(|(_, at)| **at <= self.now);
        let due: Vec<Attempt> = due.map(|(asked, _)| *asked).collect();
        for (run, task, _) in due {
            let is_open = self.database.runs[run].task(task).map(|task| task.state);
            if is_open == Some(TaskState::Paused) {
                self.answer(run, task);
            }
        }
    }

    pub(crate) fn pause(&mut self, run: usize) {
        let longest = if self.rng.random_bool(0.1) { 900_000 } else { 60_000 };
        self.paused_until[run] = self.now + self.rng.random_range(1_000..longest);
        self.flying.push((self.now + 1, Message::Pause { run }));
    }

    /// Whoever paused a run looks after it until it goes on.
    pub(crate) fn tick_pauses(&mut self) {
        for run in 0..RUNS {
            let is_paused = self.database.runs[run].state == RunState::Paused;
            if is_paused && self.paused_until[run] <= self.now {
                let _ = self.command(run, &Command::Unpause);
            }
        }
    }
}
