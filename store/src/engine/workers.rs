//! Workers: who lives, who holds what, who was lost.

use std::time::Duration;

use domain::id::{RunId, WorkerEpoch};
use domain::limits::LEASE;
use domain::time::Timestamp;
use proto::message::AttemptRef;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TryInsertResult,
};
use uuid::Uuid;

use super::Engine;
use super::load::number;
use crate::entity::{task, worker};
use crate::error::{Doing, Error};

/// An attempt whose holder is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredAttempt {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: u32,
    /// The attempt, 1-based.
    pub attempt: u32,
    /// Who held it.
    pub worker: WorkerEpoch,
}

/// A worker as it last said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its epoch.
    pub worker: WorkerEpoch,
    /// A name for people.
    pub name: String,
    /// How many cells it can run at once.
    pub slots: u32,
    /// The pool that it belongs to; `None` for a worker that does not say.
    pub pool: Option<String>,
    /// Until when it is believed to live.
    pub lease_until: Timestamp,
    /// When it last spoke.
    pub last_seen: Timestamp,
}

impl Engine {
    /// A worker lives: its lease, and so the lease of everything it holds, runs until
    /// `now + lease`. A worker that said goodbye stays gone.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn beat(&self, beat: &WorkerRow) -> Result<(), Error> {
        const DOING: &str = "recording a heartbeat";
        let row = worker::ActiveModel {
            epoch: Set(beat.worker.uuid()),
            name: Set(beat.name.replace('\0', "")),
            slots: Set(i64::from(beat.slots)),
            lease_until: Set(beat.lease_until.millis()),
            last_seen: Set(beat.last_seen.millis()),
            gone: Set(false),
            pool: Set(beat.pool.clone()),
        };
        let mut renew = OnConflict::column(worker::Column::Epoch);
        renew
            .update_columns([
                worker::Column::Name,
                worker::Column::Slots,
                worker::Column::Pool,
                worker::Column::LeaseUntil,
                worker::Column::LastSeen,
            ])
            .action_and_where(Expr::col((worker::Entity, worker::Column::Gone)).eq(false));
        let tx = self.store.begin(DOING).await?;
        let _: TryInsertResult<u64> = worker::Entity::insert(row)
            .on_conflict(renew)
            .try_insert()
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// A worker ends: what it holds is expired at once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn goodbye(&self, worker: WorkerEpoch, now: Timestamp) -> Result<(), Error> {
        const DOING: &str = "recording the end of a worker";
        let tx = self.store.begin(DOING).await?;
        worker::Entity::update_many()
            // One millisecond back: what ends now is over now.
            .col_expr(worker::Column::LeaseUntil, (now.millis() - 1).into())
            .col_expr(worker::Column::LastSeen, now.millis().into())
            .col_expr(worker::Column::Gone, true.into())
            .filter(worker::Column::Epoch.eq(worker.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// The workers whose lease has not ended.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        let rows = worker::Entity::find()
            .filter(worker::Column::LeaseUntil.gte(now.millis()))
            .order_by_asc(worker::Column::Name)
            .order_by_asc(worker::Column::Epoch)
            .all(self.store.read())
            .await
            .doing("listing workers")?;
        rows.into_iter()
            .map(|row| {
                Ok(WorkerRow {
                    worker: WorkerEpoch(row.epoch),
                    name: row.name,
                    slots: number(row.slots)?,
                    pool: row.pool,
                    lease_until: Timestamp(row.lease_until),
                    last_seen: Timestamp(row.last_seen),
                })
            })
            .collect()
    }

    /// Attempts whose holder's lease is over, or whose holder was never heard of and took them
    /// longer than `LEASE` ago.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn expired_attempts(
        &self,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<ExpiredAttempt>, Error> {
        let holder = |and: Option<Expr>| {
            let same = Expr::col((worker::Entity, worker::Column::Epoch))
                .equals((task::Entity, task::Column::LeaseWorker));
            Query::select()
                .expr(Expr::val(1))
                .from(worker::Entity)
                .and_where(same)
                .and_where_option(and)
                .take()
        };
        let over = Expr::exists(holder(Some(worker::Column::LeaseUntil.lt(now.millis()))));
        let unknown = Expr::exists(holder(None)).not();
        let rows: Vec<(Uuid, i64, i64, Uuid)> = task::Entity::find()
            .select_only()
            .column(task::Column::Run)
            .column(task::Column::Position)
            .column(task::Column::Attempt)
            .column(task::Column::LeaseWorker)
            .filter(task::Column::LeaseWorker.is_not_null())
            .filter(
                Condition::any()
                    .add(over)
                    .add(unknown.and(task::Column::LeaseSince.lt((now - LEASE).millis()))),
            )
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for lost attempts")?;
        rows.into_iter()
            .map(|(run, task, attempt, worker)| {
                Ok(ExpiredAttempt {
                    run: RunId(run),
                    task: number(task)?,
                    attempt: number(attempt)?,
                    worker: WorkerEpoch(worker),
                })
            })
            .collect()
    }

    /// What this worker holds.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn attempts_of(&self, worker: WorkerEpoch) -> Result<Vec<AttemptRef>, Error> {
        self.held(worker, None).await
    }

    /// What the database says this worker holds since before `leased_before`, but the worker does
    /// not say so itself (`held`).
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn orphaned_attempts(
        &self,
        worker: WorkerEpoch,
        held: &[AttemptRef],
        leased_before: Timestamp,
    ) -> Result<Vec<AttemptRef>, Error> {
        let recorded = self.held(worker, Some(leased_before)).await?;
        Ok(recorded.into_iter().filter(|attempt| !held.contains(attempt)).collect())
    }

    async fn held(
        &self,
        worker: WorkerEpoch,
        leased_before: Option<Timestamp>,
    ) -> Result<Vec<AttemptRef>, Error> {
        let since = leased_before.map(|before| task::Column::LeaseSince.lt(before.millis()));
        let rows: Vec<(Uuid, i64, i64)> = task::Entity::find()
            .select_only()
            .column(task::Column::Run)
            .column(task::Column::Position)
            .column(task::Column::Attempt)
            .filter(task::Column::LeaseWorker.eq(worker.uuid()))
            .filter(Condition::all().add_option(since))
            .order_by_asc(task::Column::Run)
            .order_by_asc(task::Column::Position)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("listing a worker's attempts")?;
        rows.into_iter()
            .map(|(run, task, attempt)| {
                Ok(AttemptRef { run: RunId(run), task: number(task)?, attempt: number(attempt)? })
            })
            .collect()
    }
}

impl WorkerRow {
    /// A heartbeat at `now` that is good for `lease`.
    #[must_use]
    pub fn beat(
        worker: WorkerEpoch,
        name: impl Into<String>,
        slots: u32,
        now: Timestamp,
        lease: Duration,
    ) -> Self {
        let lease_until = now + lease;
        Self { worker, name: name.into(), slots, pool: None, lease_until, last_seen: now }
    }

    /// The same from a worker of this pool.
    #[must_use]
    pub fn of_pool(self, pool: Option<String>) -> Self {
        Self { pool, ..self }
    }
}
