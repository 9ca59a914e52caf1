//! Which runs need a look because nobody said anything.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::id::RunId;
use domain::limits::REDISPATCH;
use domain::run::{RunState, TaskState};
use domain::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Engine;
use crate::entity::{run, task};
use crate::error::{Doing, Error};

/// A run that is still queued after this long is started by the sweep: its message may be lost.
pub const QUEUED_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// Runs that need a wake: queued for longer than [`QUEUED_MAX`]; with a ready task that is due
    /// and was not offered, or was offered longer ago than `REDISPATCH`; past their deadline.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn runs_due(&self, now: Timestamp, limit: u64) -> Result<Vec<RunId>, Error> {
        const DOING: &str = "looking for runs that are due";
        let db = self.store.read();
        // The state is written out in the SQL: only then do the partial indexes apply.
        let queued: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(literal("state", RunState::Queued.name()))
            .filter(run::Column::Created.lt((now - QUEUED_MAX).millis()))
            .order_by_asc(run::Column::Created)
            .limit(limit)
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        let late: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::Ended.is_null())
            .filter(run::Column::Suspended.is_null())
            .filter(run::Column::Deadline.lte(now.millis()))
            .order_by_asc(run::Column::Deadline)
            .limit(limit)
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        let waiting: Vec<Uuid> = task::Entity::find()
            .select_only()
            .column(task::Column::Run)
            .distinct()
            .filter(literal("state", TaskState::Ready.name()))
            .filter(task::Column::NotBefore.is_null().or(task::Column::NotBefore.lte(now.millis())))
            .filter(
                task::Column::Dispatched
                    .is_null()
                    .or(task::Column::Dispatched.lte((now - REDISPATCH).millis())),
            )
            .limit(limit)
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        let mut seen = BTreeSet::new();
        let due = queued.into_iter().chain(late).chain(waiting).filter(|run| seen.insert(*run));
        Ok(due.map(RunId).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    /// Ended runs whose event log is still on the bus although they ended before `ended_before`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn runs_to_archive(
        &self,
        ended_before: Timestamp,
        limit: u64,
    ) -> Result<Vec<RunId>, Error> {
        let runs: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::EventLog.is_null())
            .filter(run::Column::Ended.lte(ended_before.millis()))
            .order_by_asc(run::Column::Ended)
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for event logs to archive")?;
        Ok(runs.into_iter().map(RunId).collect())
    }
}

/// `column = 'word'` without a parameter. Only for names of states, which are plain words.
fn literal(column: &str, word: &str) -> sea_orm::sea_query::Expr {
    sea_orm::sea_query::Expr::cust(format!("{column} = '{word}'"))
}
