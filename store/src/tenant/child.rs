//! Runs that a component of another run starts: each request once, whoever repeats it.

use domain::id::RunId;
use domain::run::RunState;
use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::Tenant;
use super::submit::Submitted;
use crate::entity::run;
use crate::error::{Doing, Error};
use crate::json::hex;

const DOING: &str = "accepting a child run";

/// What started a run, when a component did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The run of the component.
    pub run: RunId,
    /// Its task.
    pub task: u32,
    /// The attempt that asked.
    pub attempt: u32,
    /// How often this attempt had asked for the same before.
    pub repeated: u32,
    /// How many runs stand above the child; 1 for the child of a run that a caller started.
    pub depth: u32,
}

/// The key of a request within its parent's task.
pub(super) fn call(parent: &Parent, fingerprint: &[u8]) -> String {
    format!("{}:{}", hex(fingerprint), parent.repeated)
}

impl Tenant {
    /// The run that the same request started before and whose result still counts: one that
    /// succeeded or may yet, or that this very attempt asked for.
    pub(super) async fn child<C: ConnectionTrait>(
        &self,
        connection: &C,
        parent: &Parent,
        call: &str,
    ) -> Result<Option<Submitted>, Error> {
        let last: Option<(Uuid, String, Option<i64>)> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .column(run::Column::State)
            .column(run::Column::ParentAttempt)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .filter(run::Column::ParentRun.eq(parent.run.uuid()))
            .filter(run::Column::ParentTask.eq(i64::from(parent.task)))
            .filter(run::Column::ParentCall.eq(call))
            .order_by_desc(run::Column::ParentAttempt)
            .into_tuple()
            .one(connection)
            .await
            .doing(DOING)?;
        let counts = |state: &str, attempt| {
            let state = RunState::named(state);
            attempt == Some(i64::from(parent.attempt))
                || state.is_some_and(|s| s == RunState::Completed || !s.is_terminal())
        };
        Ok(last
            .filter(|(_, state, attempt)| counts(state, *attempt))
            .map(|(run, ..)| Submitted { run: RunId(run), existing: true }))
    }

    /// Keeps the parent from ending before the child is written: whoever ends it later finds the
    /// child, and ends that too.
    pub(super) async fn hold_parent(
        &self,
        tx: &DatabaseTransaction,
        parent: &Parent,
    ) -> Result<(), Error> {
        let ended: Option<Option<i64>> = run::Entity::find_by_id(parent.run.uuid())
            .select_only()
            .column(run::Column::Ended)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .lock(LockType::NoKeyUpdate)
            .into_tuple()
            .one(tx)
            .await
            .doing(DOING)?;
        match ended {
            None => Err(Error::NotFound { what: "parent run" }),
            Some(Some(_)) => Err(Error::Conflict { what: "the parent run has ended" }),
            Some(None) => Ok(()),
        }
    }
}
