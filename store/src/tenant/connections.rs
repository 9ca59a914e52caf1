//! What the cells of a run connected to.

use domain::id::RunId;
use proto::connection::ConnectionLog;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::Tenant;
use crate::engine::load::number;
use crate::entity::{connection, task};
use crate::error::{Doing, Error};
use crate::json::from_text;

/// The connections of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptConnections {
    /// The cell's id.
    pub cell: String,
    /// The attempt, 1-based.
    pub attempt: u32,
    /// What it connected to.
    pub log: ConnectionLog,
}

impl Tenant {
    /// What the attempts of a run connected to, in the plan's order.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign run.
    pub async fn connections(&self, run: RunId) -> Result<Vec<AttemptConnections>, Error> {
        const DOING: &str = "reading connections";
        // Nothing below asks for the tenant: this does.
        self.run_header(run).await?;
        let rows = connection::Entity::find()
            .filter(connection::Column::Run.eq(run.uuid()))
            .order_by_asc(connection::Column::Task)
            .order_by_asc(connection::Column::Attempt)
            .all(self.store.read())
            .await
            .doing(DOING)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let tasks = task::Entity::find()
            .filter(task::Column::Run.eq(run.uuid()))
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let cell = |position| {
            let found = tasks.iter().find(|task| task.position == position);
            found
                .map(|task| task.cell.clone())
                .ok_or(Error::Corrupt { what: "task of a connection" })
        };
        rows.into_iter()
            .map(|row| {
                Ok(AttemptConnections {
                    cell: cell(row.task)?,
                    attempt: number(row.attempt)?,
                    log: from_text("connections of an attempt", &row.log)?,
                })
            })
            .collect()
    }
}
