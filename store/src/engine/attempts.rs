//! Attempt rows, derived from the events of transitions.

use std::collections::BTreeMap;

use domain::failure::Failure;
use domain::id::RunId;
use domain::run::Event;
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, EntityTrait, Value};

use super::Transition;
use crate::bulk::BulkUpdate;
use crate::entity::attempt;
use crate::error::{Doing, Error};
use crate::json;

/// An attempt that ended stays as it is.
const ATTEMPTS: BulkUpdate = BulkUpdate {
    table: "attempts",
    set: "container = COALESCE(v.column4, attempts.container), \
          began = COALESCE(v.column5, attempts.began), ended = v.column6, outcome = v.column7, \
          failure = v.column8, figures = COALESCE(v.column9, attempts.figures)",
    on: "attempts.run = v.column1 AND attempts.task = v.column2 \
         AND attempts.attempt = v.column3 AND attempts.ended IS NULL",
};

/// What the transitions of a batch change about attempts.
#[derive(Default)]
pub(super) struct Changes {
    begun: Vec<attempt::ActiveModel>,
    changed: BTreeMap<(RunId, u32, u32), Change>,
}

#[derive(Default)]
struct Change {
    container: Option<String>,
    began: Option<i64>,
    ended: Option<i64>,
    outcome: Option<&'static str>,
    failure: Option<Failure>,
    figures: Option<String>,
}

impl Changes {
    /// Notes what this transition changes.
    pub(super) fn add(&mut self, transition: &Transition) {
        let now = transition.now.millis();
        for event in &transition.events {
            self.event(transition, event, now);
        }
        for known in &transition.figures {
            let change = self.change(transition, known.task, known.attempt);
            if let Some(container) = &known.container {
                // The worker sends it; Postgres cannot store the character NUL.
                change.container = Some(container.replace('\0', ""));
            }
            if let Some(figures) = &known.figures {
                change.figures = Some(json::to_text(figures));
            }
        }
    }

    fn event(&mut self, transition: &Transition, event: &Event, now: i64) {
        match event {
            Event::TaskLeased { task, attempt, worker, at } => {
                self.begun.push(attempt::ActiveModel {
                    run: Set(transition.run().uuid()),
                    task: Set(i64::from(*task)),
                    attempt: Set(i64::from(*attempt)),
                    worker: Set(worker.uuid()),
                    container: Set(None),
                    leased: Set(at.millis()),
                    began: Set(None),
                    ended: Set(None),
                    outcome: Set(None),
                    failure: Set(None),
                    figures: Set(None),
                });
            }
            Event::TaskRunning { task, attempt } => {
                self.change(transition, *task, *attempt).began = Some(now);
            }
            Event::TaskDone { task, attempt } => {
                self.end(transition, *task, *attempt, "done");
            }
            Event::TaskPaused { task, attempt } => {
                self.end(transition, *task, *attempt, "paused");
            }
            Event::AttemptFailed { task, attempt, failure } => {
                self.end(transition, *task, *attempt, "failed").failure = Some(failure.clone());
            }
            Event::TaskCancelled { task } => {
                let attempt = transition.after.task(*task).map_or(0, |task| task.attempt);
                self.end(transition, *task, attempt, "cancelled");
            }
            Event::TaskReady { .. }
            | Event::TaskDispatched { .. }
            | Event::TaskFailed { .. }
            | Event::TaskSkipped { .. }
            | Event::Replanned { .. }
            | Event::RunStarted
            | Event::RunSuspended { .. }
            | Event::RunResumed { .. }
            | Event::RunPaused { .. }
            | Event::RunUnpaused { .. }
            | Event::TaskHeld { .. }
            | Event::RunCompleted
            | Event::RunFailed { .. }
            | Event::RunCancelled
            | Event::RunTimedOut => {}
        }
    }

    fn change(&mut self, transition: &Transition, task: u32, attempt: u32) -> &mut Change {
        self.changed.entry((transition.run(), task, attempt)).or_default()
    }

    fn end(
        &mut self,
        transition: &Transition,
        task: u32,
        attempt: u32,
        outcome: &'static str,
    ) -> &mut Change {
        let change = self.change(transition, task, attempt);
        change.ended = Some(transition.now.millis());
        change.outcome = Some(outcome);
        change
    }

    /// Writes it. Changes of attempts that were never begun (number 0: a task that was cancelled
    /// or refused before any worker took it) fit no row.
    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<(), Error> {
        const DOING: &str = "recording attempts";
        if !self.begun.is_empty() {
            attempt::Entity::insert_many(self.begun)
                .exec_without_returning(tx)
                .await
                .doing(DOING)?;
        }
        let rows: Vec<Vec<Value>> = self
            .changed
            .into_iter()
            .filter(|((_, _, attempt), _)| *attempt > 0)
            .map(|((run, task, attempt), change)| {
                vec![
                    run.uuid().into(),
                    i64::from(task).into(),
                    i64::from(attempt).into(),
                    change.container.into(),
                    change.began.into(),
                    change.ended.into(),
                    change.outcome.map(str::to_owned).into(),
                    change.failure.as_ref().map(json::to_text).into(),
                    change.figures.into(),
                ]
            })
            .collect();
        ATTEMPTS.execute(tx, rows).await.doing(DOING).map(drop)
    }
}
