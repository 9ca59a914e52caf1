//! What the cells of a run gave, and the run's event log once it is archived.

use std::collections::BTreeMap;

use domain::id::RunId;
use proto::frame::CellResult;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::Tenant;
use crate::engine::{load::number, results};
use crate::entity::{run, task};
use crate::error::{Doing, Error};
use crate::payload;

impl Tenant {
    /// The results of the named cells of a run; cells without one are left out.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign run, [`Error::Corrupt`] when stored bytes do not match
    /// their hash.
    pub async fn results(
        &self,
        run: RunId,
        cells: &[String],
    ) -> Result<BTreeMap<String, CellResult>, Error> {
        // Nothing below asks for the tenant: this does.
        self.run_header(run).await?;
        let tasks: Vec<(i64, String)> = task::Entity::find()
            .select_only()
            .column(task::Column::Position)
            .column(task::Column::Cell)
            .filter(task::Column::Run.eq(run.uuid()))
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("reading results")?;
        let mut names = BTreeMap::new();
        for (position, cell) in tasks {
            if cells.contains(&cell) {
                names.insert(number(position)?, cell);
            }
        }
        let wanted: Vec<u32> = names.keys().copied().collect();
        let found = results::read(&self.store, run, &wanted).await?;
        let named =
            found.into_iter().filter_map(|(task, result)| Some((names.remove(&task)?, result)));
        Ok(named.collect())
    }

    /// The event log of an ended run, as it was archived; `None` when it was not archived yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign run, [`Error::Corrupt`].
    pub async fn event_log(&self, run: RunId) -> Result<Option<Vec<u8>>, Error> {
        let sha256: Option<Option<Vec<u8>>> = run::Entity::find_by_id(run.uuid())
            .select_only()
            .column(run::Column::EventLog)
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(self.store.read())
            .await
            .doing("reading an event log")?;
        match sha256.ok_or(Error::NotFound { what: "run" })? {
            None => Ok(None),
            Some(sha256) => payload::read(&self.store, self.id, &sha256, run).await.map(Some),
        }
    }
}
