//! What attempts connected to, as their workers tell.

use domain::id::WorkerEpoch;
use proto::connection::ConnectionLog;
use proto::message::AttemptRef;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, TryInsertResult};

use super::Engine;
use crate::entity::{attempt, connection};
use crate::error::{Doing, Error};
use crate::json::to_text;

impl Engine {
    /// Stores what an attempt connected to, in place of an earlier version. The attempt may have
    /// ended meanwhile; its worker's word still counts.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the worker never had the attempt.
    pub async fn record_connections(
        &self,
        worker: WorkerEpoch,
        held: AttemptRef,
        log: &ConnectionLog,
    ) -> Result<(), Error> {
        use connection::Column;
        const DOING: &str = "recording connections";
        let (run, task, attempt) = (held.run.uuid(), i64::from(held.task), i64::from(held.attempt));
        let tx = self.store.begin(DOING).await?;
        attempt::Entity::find_by_id((run, task, attempt))
            .filter(attempt::Column::Worker.eq(worker.uuid()))
            .one(&tx)
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "attempt" })?;
        let row = connection::ActiveModel {
            run: Set(run),
            task: Set(task),
            attempt: Set(attempt),
            revision: Set(i64::try_from(log.revision).unwrap_or(i64::MAX)),
            log: Set(to_text(log)),
        };
        let mut newer = OnConflict::columns([Column::Run, Column::Task, Column::Attempt]);
        newer.update_columns([Column::Revision, Column::Log]).action_and_where(
            Expr::col((connection::Entity, Column::Revision))
                .lt(Expr::col(("excluded", Column::Revision))),
        );
        let _: TryInsertResult<u64> = connection::Entity::insert(row)
            .on_conflict(newer)
            .try_insert()
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}
