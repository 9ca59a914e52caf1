//! Which runs need a look because nobody said anything.

use domain::id::RunId;
use domain::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Engine;
use crate::entity::run;
use crate::error::{Doing, Error};

impl Engine {
    /// Runs whose deadline has passed.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn runs_late(&self, now: Timestamp, limit: u64) -> Result<Vec<RunId>, Error> {
        let late: Vec<Uuid> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(run::Column::Ended.is_null())
            .filter(run::Column::Suspended.is_null())
            .filter(run::Column::Deadline.lte(now.millis()))
            .order_by_asc(run::Column::Deadline)
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for runs that are late")?;
        Ok(late.into_iter().map(RunId).collect())
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
