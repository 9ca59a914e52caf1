//! Runs whose parent does not wait for them any more.

use domain::id::RunId;
use domain::run::RunState;
use domain::time::Timestamp;
use sea_orm::sea_query::{Alias, Expr, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::Engine;
use crate::entity::run;
use crate::error::{Doing, Error};

impl Engine {
    /// The children of a run that have not ended.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_children(&self, parent: RunId) -> Result<Vec<RunId>, Error> {
        let open: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::ParentRun.eq(parent.uuid()))
            .filter(run::Column::Ended.is_null())
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for children of a run")?;
        Ok(open.into_iter().map(RunId).collect())
    }

    /// Children that were accepted before `accepted_before` and are not started: their message must
    /// be lost, for nothing holds a child back.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn unstarted_children(
        &self,
        accepted_before: Timestamp,
        limit: u64,
    ) -> Result<Vec<RunId>, Error> {
        let queued: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::ParentRun.is_not_null())
            .filter(run::Column::Ended.is_null())
            .filter(run::Column::State.eq(RunState::Queued.name()))
            .filter(run::Column::Created.lt(accepted_before.millis()))
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for children that are not started")?;
        Ok(queued.into_iter().map(RunId).collect())
    }

    /// Runs that have not ended although their parent has, or is gone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn orphaned_runs(&self, limit: u64) -> Result<Vec<RunId>, Error> {
        let parent = Alias::new("parent");
        let waits = Query::select()
            .expr(Expr::val(1))
            .from_as(run::Entity, parent.clone())
            .and_where(
                Expr::col((parent.clone(), run::Column::Id))
                    .equals((run::Entity, run::Column::ParentRun)),
            )
            .and_where(Expr::col((parent, run::Column::Ended)).is_null())
            .take();
        let left: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::ParentRun.is_not_null())
            .filter(run::Column::Ended.is_null())
            .filter(Condition::all().not().add(Expr::exists(waits)))
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for runs without a parent")?;
        Ok(left.into_iter().map(RunId).collect())
    }
}
