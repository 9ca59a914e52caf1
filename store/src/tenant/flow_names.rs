//! Which names of flows are taken.

use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::{Tenant, naming};
use crate::entity::flow;
use crate::error::{Doing, Error};
use crate::json::storable;

impl Tenant {
    pub(super) async fn flow_with(
        &self,
        tx: &DatabaseTransaction,
        column: flow::Column,
        name: &str,
    ) -> Result<bool, Error> {
        storable("name", name)?;
        let found: Option<Uuid> = flow::Entity::find()
            .select_only()
            .column(flow::Column::Id)
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .filter(column.eq(name))
            .into_tuple()
            .one(tx)
            .await
            .doing("looking for a flow")?;
        Ok(found.is_some())
    }

    pub(super) async fn free_flow_name(
        &self,
        tx: &DatabaseTransaction,
        name: &str,
    ) -> Result<String, Error> {
        let taken = self.names_like(tx, flow::Column::Name, name).await?;
        Ok(naming::free_name(name, &taken))
    }

    pub(super) async fn free_endpoint_name(
        &self,
        tx: &DatabaseTransaction,
        name: &str,
    ) -> Result<String, Error> {
        let taken = self.names_like(tx, flow::Column::EndpointName, name).await?;
        Ok(naming::free_endpoint_name(name, &taken))
    }

    pub(super) async fn names_like(
        &self,
        tx: &DatabaseTransaction,
        column: flow::Column,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        flow::Entity::find()
            .select_only()
            .column(column)
            .filter(flow::Column::Tenant.eq(self.id.uuid()))
            .filter(column.starts_with(name))
            .into_tuple()
            .all(tx)
            .await
            .doing("looking for a free name")
    }
}
