//! Tasks of runs that go on under another plan, and what was learned for the next plans.

use domain::run::{Event, PlannedTask};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::Transition;
use crate::entity::task;
use crate::error::{Doing, Error};
use crate::json::to_text;

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
    let run = transition.run().uuid();
    let depends_on = to_text(&planned.depends_on);
    let changed = task::Entity::update_many()
        .col_expr(task::Column::DependsOn, depends_on.clone().into())
        .filter(task::Column::Run.eq(run))
        .filter(task::Column::Position.eq(i64::from(planned.task)))
        .exec(tx)
        .await
        .doing(DOING)?;
    if changed.rows_affected > 0 {
        return Ok(());
    }
    let row = task::ActiveModel {
        run: Set(run),
        position: Set(i64::from(planned.task)),
        cell: Set(planned.cell.clone()),
        state: Set(domain::run::TaskState::Waiting.name().to_owned()),
        depends_on: Set(depends_on),
        attempt: Set(0),
        pauses: Set(0),
        dispatches: Set(0),
        dispatched: Set(None),
        not_before: Set(None),
        lease_worker: Set(None),
        lease_since: Set(None),
        failure: Set(None),
    };
    task::Entity::insert(row).exec_without_returning(tx).await.doing(DOING).map(drop)
}
