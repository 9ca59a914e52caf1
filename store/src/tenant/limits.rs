//! What is set of the limits of a tenant's cells: for all its flows, and for one.

use std::collections::BTreeMap;

use domain::id::FlowId;
use domain::limits::{Overrides, Setting, TenantLimits};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::Tenant;
use crate::clock;
use crate::entity::{flow_limits, tenant_limits};
use crate::error::{Doing, Error};
use crate::json::{from_text, to_text};

const READING: &str = "reading limits";
const SETTING: &str = "setting limits";

impl Tenant {
    /// What is set for all flows of the tenant.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn limits(&self) -> Result<TenantLimits, Error> {
        let row = tenant_limits::Entity::find_by_id(self.id.uuid())
            .one(self.store.read())
            .await
            .doing(READING)?;
        let Some(row) = row else { return Ok(TenantLimits::default()) };
        Ok(TenantLimits { limits: known(&row.limits)?, maximum: known(&row.maximum)? })
    }

    /// Sets the limits of all flows of the tenant; what is not named is not set any more. Whether
    /// the values are allowed is the caller's to check.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant that does not exist.
    pub async fn set_limits(&self, limits: &TenantLimits) -> Result<(), Error> {
        let tx = self.store.begin(SETTING).await?;
        self.lock(&tx).await?;
        let row = tenant_limits::ActiveModel {
            tenant: Set(self.id.uuid()),
            limits: Set(to_text(&limits.limits)),
            maximum: Set(to_text(&limits.maximum)),
            updated: Set(clock::now().millis()),
            admission: NotSet,
        };
        use tenant_limits::Column;
        let replace = OnConflict::column(Column::Tenant)
            .update_columns([Column::Limits, Column::Maximum, Column::Updated])
            .to_owned();
        tenant_limits::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(SETTING)?;
        tx.commit().await.doing(SETTING)
    }

    /// What is set for one flow.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn flow_limits(&self, flow: FlowId) -> Result<Overrides, Error> {
        self.flow_row(self.store.read(), flow, None).await?;
        self.limits_row(self.store.read(), flow).await
    }

    /// Sets the limits of one flow; what is not named is not set any more. Whether the values are
    /// allowed is the caller's to check.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn set_flow_limits(&self, flow: FlowId, limits: &Overrides) -> Result<(), Error> {
        let tx = self.store.begin(SETTING).await?;
        self.flow_row(&tx, flow, Some(LockType::KeyShare)).await?;
        let row = flow_limits::ActiveModel {
            tenant: Set(self.id.uuid()),
            flow: Set(flow.uuid()),
            limits: Set(to_text(limits)),
            updated: Set(clock::now().millis()),
            admission: NotSet,
        };
        use flow_limits::Column;
        let replace = OnConflict::columns([Column::Tenant, Column::Flow])
            .update_columns([Column::Limits, Column::Updated])
            .to_owned();
        flow_limits::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(SETTING)?;
        tx.commit().await.doing(SETTING)
    }

    /// What is set for a flow that is about to run, and for its tenant. Nothing is set for a flow
    /// that does not exist.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn limits_for(&self, flow: FlowId) -> Result<(TenantLimits, Overrides), Error> {
        let flow = self.limits_row(self.store.read(), flow);
        futures::future::try_join(self.limits(), flow).await
    }

    async fn limits_row<C: ConnectionTrait>(
        &self,
        connection: &C,
        flow: FlowId,
    ) -> Result<Overrides, Error> {
        let row = flow_limits::Entity::find_by_id((self.id.uuid(), flow.uuid()))
            .filter(flow_limits::Column::Tenant.eq(self.id.uuid()))
            .one(connection)
            .await
            .doing(READING)?;
        row.map_or_else(|| Ok(Overrides::default()), |row| known(&row.limits))
    }
}

/// The limits of a column that this program knows. A newer one may have set others, and going
/// back to this one must not keep every run from starting.
fn known(text: &str) -> Result<Overrides, Error> {
    let all: BTreeMap<String, u64> = from_text("limits", text)?;
    Ok(all.into_iter().filter_map(|(name, value)| Some((Setting::named(&name)?, value))).collect())
}

/// The same of a row that may not be there.
pub(super) fn known_optional(text: Option<&str>) -> Result<Overrides, Error> {
    text.map_or_else(|| Ok(Overrides::default()), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_newer_program_are_passed_over() {
        let read = known(r#"{"pids":9,"gpus":1}"#).unwrap();
        assert_eq!(read, [(Setting::Pids, 9)].into_iter().collect());
        assert!(known("[]").is_err());
    }
}
