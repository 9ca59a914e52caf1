//! One tenant's rows. Every query starts here and names the tenant; a row of somebody else is
//! [`Error::NotFound`](crate::Error::NotFound), exactly as a row that never was.

mod admission;
pub(crate) mod api_keys;
pub(crate) mod child;
pub(crate) mod connections;
pub(crate) mod decisions;
pub(crate) mod egress;
mod file_content;
pub(crate) mod files;
mod flow_names;
mod flow_view;
pub(crate) mod flows;
pub(crate) mod group;
pub(crate) mod knowledge;
mod limits;
pub(crate) mod live_outputs;
pub(crate) mod messages;
mod naming;
pub(crate) mod projects;
pub(crate) mod rerun;
pub(crate) mod results;
pub(crate) mod retention;
pub(crate) mod run_settings;
mod run_variables;
pub(crate) mod run_view;
pub(crate) mod runtimes;
pub(crate) mod standing;
pub(crate) mod submit;
pub(crate) mod users;
pub(crate) mod variables;
pub(crate) mod versions;

use domain::id::TenantId;
use sea_orm::sea_query::LockType;
use sea_orm::{DatabaseTransaction, EntityTrait, QuerySelect};

use crate::connect::Store;
use crate::entity::tenant;
use crate::error::{Doing, Error};

/// A handle on the rows of one tenant. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub(crate) store: Store,
    pub(crate) id: TenantId,
}

impl Tenant {
    /// Whose rows these are.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.id
    }

    /// Keeps other changes of this tenant's names out until the transaction ends. Runs and
    /// messages are not held up: they only refer to the tenant.
    pub(crate) async fn lock(&self, tx: &DatabaseTransaction) -> Result<tenant::Model, Error> {
        tenant::Entity::find_by_id(self.id.uuid())
            .lock(LockType::NoKeyUpdate)
            .one(tx)
            .await
            .doing("locking a tenant")?
            .ok_or(Error::NotFound { what: "tenant" })
    }
}
