//! Runs that take over what an ended one has finished, and dead letters: runs that failed while
//! nobody waited for them.
//!
//! A run that is taken over from may be removed at any time. Its results are copied, not referred
//! to, in the transaction that accepts the new run: either all that is to be kept is there, or
//! nothing is accepted.

use std::collections::BTreeSet;

use domain::id::RunId;
use domain::run::TaskState;
use proto::frame::CellResult;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::Value;

use super::Tenant;
use super::submit::{Concurrency, NewRun};
use crate::engine::load::number;
use crate::engine::{RunRecord, results};
use crate::entity::{result, run};
use crate::error::{Doing, Error};
use crate::payload;

const DOING: &str = "running a run again";

/// What a new run takes over from an ended one.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// The ended run.
    pub of: RunId,
    /// The tasks whose results are taken over.
    pub kept: BTreeSet<u32>,
    /// The tasks whose cells are no more, because the ended run was planned anew.
    pub replaced: BTreeSet<u32>,
    /// The plan that it followed since.
    pub plan: Option<Value>,
    /// What the kept tasks decided about branches.
    pub operations: Option<Value>,
    /// What the kept tasks wrote into the context.
    pub context: Option<Value>,
    /// Whether the ended run must be a dead letter: then only one such run is ever accepted.
    pub redrive: bool,
}

/// An ended run to take over from.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedRun {
    /// The run.
    pub record: RunRecord,
    /// The limit that its caller set for its own runs.
    pub concurrency: Option<Concurrency>,
}

/// Runs that failed while nobody waited for them, and were neither run again nor dismissed. Written
/// out, because only then does its index apply.
pub(crate) const IS_DEAD_LETTER: &str =
    "detached AND settled IS NULL AND state IN ('failed', 'timed_out')";

impl Tenant {
    /// A run that has ended, with all that is needed to run it again.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it has not ended or a component started it.
    pub async fn ended_run(&self, run: RunId) -> Result<EndedRun, Error> {
        let header = self.run_header(run).await?;
        if !header.state.is_terminal() {
            return Err(Error::Conflict { what: "the run has not ended" });
        }
        if header.parent.is_some() {
            let what = "a component of another run started this one: run that one again";
            return Err(Error::Conflict { what });
        }
        let record = self.store.engine().load(run).await?;
        let limit: Option<(Option<String>, Option<i64>)> = run::Entity::find_by_id(run.uuid())
            .select_only()
            .column(run::Column::ConcurrencyKey)
            .column(run::Column::ConcurrencyMax)
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(DOING)?;
        let concurrency = match limit {
            Some((Some(key), Some(most))) => Some(Concurrency { key, most: number(most)? }),
            Some(_) | None => None,
        };
        let record = record.ok_or(Error::NotFound { what: "run" })?;
        Ok(EndedRun { record, concurrency })
    }

    /// The results of these tasks of a run, in the order in which they came.
    ///
    /// # Errors
    /// As [`Tenant::results`].
    pub async fn results_in_order(
        &self,
        run: RunId,
        tasks: &BTreeSet<u32>,
    ) -> Result<Vec<(u32, CellResult)>, Error> {
        // Nothing below asks for the tenant: this does.
        self.run_header(run).await?;
        let order: Vec<i64> = result::Entity::find()
            .select_only()
            .column(result::Column::Task)
            .filter(result::Column::Run.eq(run.uuid()))
            .order_by_asc(result::Column::Created)
            .order_by_asc(result::Column::Task)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let wanted: Vec<u32> = tasks.iter().copied().collect();
        let mut found = results::read(&self.store, run, &wanted).await?;
        let mut ordered = Vec::with_capacity(found.len());
        for task in order {
            let task = number(task)?;
            ordered.extend(found.remove(&task).map(|result| (task, result)));
        }
        Ok(ordered)
    }

    /// Lets a dead letter rest: it is in no list of them any more.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it is no dead letter.
    pub async fn dismiss(&self, run: RunId) -> Result<(), Error> {
        self.run_header(run).await?;
        let tx = self.store.begin(DOING).await?;
        self.settle(&tx, run, true).await?;
        tx.commit().await.doing(DOING)
    }

    /// Copies what is kept, and settles the run that it comes from.
    pub(super) async fn take_over(
        &self,
        tx: &DatabaseTransaction,
        new: &NewRun,
        again: &Again,
    ) -> Result<(), Error> {
        self.settle(tx, again.of, again.redrive).await?;
        let copied = self.copy_results(tx, new, again).await?;
        if usize::try_from(copied) != Ok(again.kept.len()) {
            return Err(Error::Conflict { what: payload::REMOVED });
        }
        Ok(())
    }

    async fn settle(&self, tx: &DatabaseTransaction, run: RunId, must: bool) -> Result<(), Error> {
        let settled = run::Entity::update_many()
            .col_expr(run::Column::Settled, Expr::val(crate::clock::now().millis()))
            .filter(run::Column::Id.eq(run.uuid()))
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .filter(Expr::cust(IS_DEAD_LETTER))
            .exec(tx)
            .await
            .doing(DOING)?;
        if must && settled.rows_affected == 0 {
            let what = "the run is no dead letter, or was run again or dismissed already";
            return Err(Error::Conflict { what });
        }
        Ok(())
    }

    async fn copy_results(
        &self,
        tx: &DatabaseTransaction,
        new: &NewRun,
        again: &Again,
    ) -> Result<u64, Error> {
        use result::Column;
        let is_kept = Column::Run
            .eq(again.of.uuid())
            .and(Column::Tenant.eq(self.id.uuid()))
            .and(Column::Task.is_in(again.kept.iter().map(|task| i64::from(*task))));
        // First, so that none of them goes before the rows below refer to it.
        payload::hold(tx, self.id, is_kept.clone()).await?;
        let copies = Query::select()
            .expr(Expr::val(new.id.uuid()))
            .columns([Column::Task, Column::Tenant, Column::Inline, Column::Payload, Column::Usage])
            .expr(Expr::val(new.now.millis()))
            .from(result::Entity)
            .and_where(is_kept)
            .take();
        let mut insert = Query::insert();
        insert.into_table(result::Entity).columns([
            Column::Run,
            Column::Task,
            Column::Tenant,
            Column::Inline,
            Column::Payload,
            Column::Usage,
            Column::Created,
        ]);
        insert.select_from(copies).map_err(|_| Error::Corrupt { what: "copy of results" })?;
        let copied = tx.execute(&insert).await.doing(DOING)?;
        Ok(copied.rows_affected())
    }
}

/// Where a task of a new run stands at first.
pub(super) fn state(again: Option<&Again>, position: i64) -> TaskState {
    let is_in = |tasks: &BTreeSet<u32>| tasks.iter().any(|task| i64::from(*task) == position);
    match again {
        Some(again) if is_in(&again.kept) => TaskState::Done,
        Some(again) if is_in(&again.replaced) => TaskState::Replaced,
        Some(_) | None => TaskState::Waiting,
    }
}
