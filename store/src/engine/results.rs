//! Results of tasks, for those that need them as inputs.

use std::collections::BTreeMap;

use domain::id::{RunId, TenantId};
use proto::frame::{CellResult, UsageByNode};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::Engine;
use super::load::number;
use crate::connect::Store;
use crate::entity::result;
use crate::error::{Doing, Error};
use crate::{json, payload};

impl Engine {
    /// The results of these tasks of a run; tasks without one are left out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when stored bytes do not match their hash.
    pub async fn results(
        &self,
        run: RunId,
        tasks: &[u32],
    ) -> Result<BTreeMap<u32, CellResult>, Error> {
        read(&self.store, run, tasks).await
    }

    /// What the nodes of these tasks of a run spent; tasks that spent nothing are left out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn usage(&self, run: RunId, tasks: &[u32]) -> Result<Vec<UsageByNode>, Error> {
        let spent: Vec<String> = result::Entity::find()
            .select_only()
            .column(result::Column::Usage)
            .filter(result::Column::Run.eq(run.uuid()))
            .filter(result::Column::Task.is_in(tasks.iter().map(|task| i64::from(*task))))
            .filter(result::Column::Usage.is_not_null())
            .order_by_asc(result::Column::Task)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("reading usage")?;
        spent.iter().map(|text| json::from_text("usage of a result", text)).collect()
    }
}

/// The results of these tasks. The caller has made sure that the run may be seen.
pub(crate) async fn read(
    store: &Store,
    run: RunId,
    tasks: &[u32],
) -> Result<BTreeMap<u32, CellResult>, Error> {
    let rows = result::Entity::find()
        .filter(result::Column::Run.eq(run.uuid()))
        .filter(result::Column::Task.is_in(tasks.iter().map(|task| i64::from(*task))))
        .all(store.read())
        .await
        .doing("reading results")?;
    let mut results = BTreeMap::new();
    for row in rows {
        let text = match (row.inline, row.payload) {
            (Some(text), _) => text,
            (None, Some(sha256)) => {
                let bytes = payload::read(store, TenantId(row.tenant), &sha256, run).await?;
                String::from_utf8(bytes).map_err(|_| Error::Corrupt { what: "result" })?
            }
            (None, None) => return Err(Error::Corrupt { what: "result" }),
        };
        results.insert(number(row.task)?, json::from_text("result", &text)?);
    }
    Ok(results)
}
