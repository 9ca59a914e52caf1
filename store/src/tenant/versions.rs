//! Flow versions: immutable, content-hashed snapshots, the only thing that runs.

use domain::id::{FlowId, VersionId};
use domain::runtime::Needs;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::{flow, flow_version};
use crate::error::{Doing, Error};
use crate::json::{fingerprint, from_optional, from_text, hex, to_text};

/// A snapshot of a flow with its plan.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowVersion {
    /// Its id.
    pub id: VersionId,
    /// The flow.
    pub flow: FlowId,
    /// SHA-256 of graph and plan, in hexadecimal.
    pub sha256: String,
    /// The graph.
    pub data: Value,
    /// The plan made of it.
    pub plan: Value,
    /// What it needs of its runtime.
    pub needs: Needs,
    /// When it was stored.
    pub created: Timestamp,
}

/// What makes a version.
#[derive(Clone, Debug)]
pub struct NewVersion<'a> {
    /// The graph.
    pub data: &'a Value,
    /// The plan made of it.
    pub plan: &'a Value,
    /// What it needs of its runtime.
    pub needs: &'a Needs,
}

impl NewVersion<'_> {
    /// A version that needs nothing has the hash that it had before there were needs.
    fn sha256(&self) -> Vec<u8> {
        match serde_json::to_value(self.needs) {
            Ok(needs) if *self.needs != Needs::default() => {
                fingerprint(&[self.data, self.plan, &needs])
            }
            _ => fingerprint(&[self.data, self.plan]),
        }
    }
}

impl Tenant {
    /// Stores a snapshot that runs in any runtime; see [`Self::put_new_version`].
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn put_version(
        &self,
        flow: FlowId,
        data: &Value,
        plan: &Value,
    ) -> Result<VersionId, Error> {
        self.put_new_version(flow, NewVersion { data, plan, needs: &Needs::default() }).await
    }

    /// Stores a snapshot and makes it the flow's current version. The same content (graph, plan
    /// and needs, whatever the order of their keys) is the same version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn put_new_version(
        &self,
        flow: FlowId,
        new: NewVersion<'_>,
    ) -> Result<VersionId, Error> {
        const DOING: &str = "storing a flow version";
        let sha256 = new.sha256();
        let tx = self.store.begin(DOING).await?;
        // The lock makes two stores of the same content one version.
        let row = self.flow_row(&tx, flow, Some(LockType::NoKeyUpdate)).await?;
        let found: Option<Uuid> = flow_version::Entity::find()
            .select_only()
            .column(flow_version::Column::Id)
            .filter(flow_version::Column::Flow.eq(flow.uuid()))
            .filter(flow_version::Column::Sha256.eq(sha256.clone()))
            .into_tuple()
            .one(&tx)
            .await
            .doing(DOING)?;
        let id = found.unwrap_or_else(Uuid::now_v7);
        if found.is_none() {
            let row = flow_version::ActiveModel {
                id: Set(id),
                tenant: Set(self.id.uuid()),
                flow: Set(flow.uuid()),
                sha256: Set(sha256),
                data: Set(to_text(new.data)),
                plan: Set(to_text(new.plan)),
                needs: Set((*new.needs != Needs::default()).then(|| to_text(new.needs))),
                created: Set(clock::now().millis()),
            };
            flow_version::Entity::insert(row).exec_without_returning(&tx).await.doing(DOING)?;
        }
        if row.current_version != Some(id) {
            flow::Entity::update_many()
                .col_expr(flow::Column::CurrentVersion, id.into())
                .filter(flow::Column::Id.eq(flow.uuid()))
                .exec(&tx)
                .await
                .doing(DOING)?;
        }
        tx.commit().await.doing(DOING)?;
        Ok(VersionId(id))
    }

    /// One version.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn version(&self, id: VersionId) -> Result<FlowVersion, Error> {
        let row = flow_version::Entity::find_by_id(id.uuid())
            .filter(flow_version::Column::Tenant.eq(self.id.uuid()))
            .one(self.store.read())
            .await
            .doing("looking for a flow version")?
            .ok_or(Error::NotFound { what: "flow version" })?;
        Ok(FlowVersion {
            id: VersionId(row.id),
            flow: FlowId(row.flow),
            sha256: hex(&row.sha256),
            data: from_text("graph of a flow version", &row.data)?,
            plan: from_text("plan of a flow version", &row.plan)?,
            needs: from_optional("needs of a flow version", row.needs.as_deref())?
                .unwrap_or_default(),
            created: Timestamp(row.created),
        })
    }

    /// The versions of a flow with their times, newest first, without content.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn versions(&self, flow: FlowId) -> Result<Vec<(VersionId, Timestamp)>, Error> {
        let db = self.store.read();
        self.flow_row(db, flow, None).await?;
        let rows: Vec<(Uuid, i64)> = flow_version::Entity::find()
            .select_only()
            .column(flow_version::Column::Id)
            .column(flow_version::Column::Created)
            .filter(flow_version::Column::Tenant.eq(self.id.uuid()))
            .filter(flow_version::Column::Flow.eq(flow.uuid()))
            .order_by_desc(flow_version::Column::Id)
            .into_tuple()
            .all(db)
            .await
            .doing("listing flow versions")?;
        Ok(rows.into_iter().map(|(id, at)| (VersionId(id), Timestamp(at))).collect())
    }
}
