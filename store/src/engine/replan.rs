//! Tasks of runs that go on under another plan, and what was learned for the next plans.

use domain::run::{Event, PlannedTask};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::Transition;
use crate::entity::task;
use crate::error::{Doing, Error};
use crate::json::to_text;
use crate::tenant::submit::{NewTask, waiting_row};

/// Makes the rows of new tasks, and writes down what the others need from now on. The states are
/// written with those of all tasks.
pub(super) async fn write(
    tx: &DatabaseTransaction,
    transitions: impl Iterator<Item = &Transition>,
) -> Result<(), Error> {
    for transition in transitions {
        for planned in transition.events.iter().filter_map(planned).flatten() {
            write_task(tx, transition, planned).await?;
        }
    }
    Ok(())
}

fn planned(event: &Event) -> Option<&[PlannedTask]> {
    match event {
        Event::Replanned { planned, .. } => Some(planned),
        _ => None,
    }
}

async fn write_task(
    tx: &DatabaseTransaction,
    transition: &Transition,
    planned: &PlannedTask,
) -> Result<(), Error> {
    const DOING: &str = "planning a run anew";
    let changed = task::Entity::update_many()
        .col_expr(task::Column::DependsOn, to_text(&planned.depends_on).into())
        .filter(task::Column::Run.eq(transition.run().uuid()))
        .filter(task::Column::Position.eq(i64::from(planned.task)))
        .exec(tx)
        .await
        .doing(DOING)?;
    if changed.rows_affected > 0 {
        return Ok(());
    }
    let position = i64::from(planned.task);
    let made = transition.after.task(planned.task);
    let new = NewTask {
        cell: planned.cell.clone(),
        depends_on: planned.depends_on.clone(),
        terms: made.map(|task| task.terms.clone()).unwrap_or_default(),
    };
    let row = waiting_row(transition.run(), position, &new);
    task::Entity::insert(row).exec_without_returning(tx).await.doing(DOING).map(drop)
}
