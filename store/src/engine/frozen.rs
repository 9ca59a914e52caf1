//! Results of frozen components, which outlive the runs that made them.

use domain::id::{FlowId, TenantId, UserId};
use domain::time::Timestamp;
use proto::frame::CellResult;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;
use uuid::Uuid;

use super::Engine;
use crate::entity::frozen_result;
use crate::error::{Doing, Error};
use crate::json;

/// Largest result that is kept. Above it a component that is frozen to save time costs more to
/// remember than to run; and there is one for each component and user.
pub const FROZEN_BYTES_MAX: usize = 1024 * 1024;

/// Whose result it is, of which component, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The flow.
    pub flow: FlowId,
    /// As whom the component ran.
    pub user: UserId,
    /// The component.
    pub node: String,
    /// A hash of what decides over the result.
    pub hash: String,
}

impl Engine {
    /// The result that was kept, if it is of the same.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn frozen(&self, key: &FrozenKey) -> Result<Option<CellResult>, Error> {
        let row = frozen_result::Entity::find_by_id(place(key))
            .one(self.store.read())
            .await
            .doing("reading a frozen result")?;
        let same = row.filter(|row| row.hash == key.hash);
        same.map(|row| json::from_text("frozen result", &row.result)).transpose()
    }

    /// Keeps a result in place of the component's and user's earlier one. One that is too large is
    /// not kept.
    ///
    /// # Errors
    /// [`Error::Database`], also when the flow is gone.
    pub async fn keep_frozen(
        &self,
        key: &FrozenKey,
        result: &CellResult,
        now: Timestamp,
    ) -> Result<(), Error> {
        const DOING: &str = "keeping a frozen result";
        let text = json::to_text(result);
        if text.len() > FROZEN_BYTES_MAX {
            return Ok(());
        }
        let (tenant, flow, owner, node) = place(key);
        let row = frozen_result::ActiveModel {
            tenant: Set(tenant),
            flow: Set(flow),
            owner: Set(owner),
            node: Set(node),
            hash: Set(key.hash.clone()),
            result: Set(text),
            created: Set(now.millis()),
        };
        let tx = self.store.begin(DOING).await?;
        use frozen_result::Column;
        let replace =
            OnConflict::columns([Column::Tenant, Column::Flow, Column::Owner, Column::Node])
                .update_columns([Column::Hash, Column::Result, Column::Created])
                .to_owned();
        frozen_result::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}

fn place(key: &FrozenKey) -> (Uuid, Uuid, Uuid, String) {
    (key.tenant.uuid(), key.flow.uuid(), key.user.uuid(), key.node.clone())
}
