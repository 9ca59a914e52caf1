//! How long the runs of a tenant are kept.

use domain::retention::Overrides;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use super::Tenant;
use crate::clock;
use crate::entity::tenant_retention;
use crate::error::{Doing, Error};

impl Tenant {
    /// What is set for the tenant.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub async fn retention(&self) -> Result<Overrides, Error> {
        let row = tenant_retention::Entity::find_by_id(self.id.uuid())
            .one(self.store.read())
            .await
            .doing("reading a retention")?;
        row.as_ref().map_or_else(|| Ok(Overrides::default()), overrides)
    }

    /// Sets it for the tenant; what is `None` is not set any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant that does not exist.
    pub async fn set_retention(&self, set: Overrides) -> Result<(), Error> {
        const DOING: &str = "setting a retention";
        let tx = self.store.begin(DOING).await?;
        self.lock(&tx).await?;
        let row = tenant_retention::ActiveModel {
            tenant: Set(self.id.uuid()),
            runs_days: Set(set.runs_days.map(i64::from)),
            messages: Set(set.messages),
            updated: Set(clock::now().millis()),
        };
        use tenant_retention::Column;
        let replace = OnConflict::column(Column::Tenant)
            .update_columns([Column::RunsDays, Column::Messages, Column::Updated])
            .to_owned();
        tenant_retention::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}

pub(crate) fn overrides(row: &tenant_retention::Model) -> Result<Overrides, Error> {
    let days = row.runs_days.map(u32::try_from).transpose();
    let runs_days = days.map_err(|_| Error::Corrupt { what: "retention" })?;
    Ok(Overrides { runs_days, messages: row.messages })
}
