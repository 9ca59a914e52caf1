//! Packages that a flow lists, and what became of the image with them.

use domain::id::FlowId;
use domain::runtime::{BuildState, Requirements};
use domain::time::Timestamp;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::Tenant;
use crate::clock;
use crate::entity::{flow, runtime_build};
use crate::error::{Doing, Error};
use crate::json::to_text;

/// What became of an image with a flow's own packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeBuild {
    /// How far it is.
    pub state: BuildState,
    /// The step, or the reason of a failure.
    pub detail: String,
    /// Exact versions and hashes, once they are known.
    pub lock: Option<String>,
    /// When it was last heard of.
    pub updated: Timestamp,
}

impl Tenant {
    /// Sets what a flow lists. Its next version has it; those before keep theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn set_requirements(
        &self,
        flow: FlowId,
        requirements: &Requirements,
    ) -> Result<(), Error> {
        const DOING: &str = "setting the requirements of a flow";
        let tx = self.store.begin(DOING).await?;
        self.flow_row(&tx, flow, Some(LockType::NoKeyUpdate)).await?;
        let listed = (!requirements.is_empty()).then(|| to_text(requirements));
        flow::Entity::update_many()
            .col_expr(flow::Column::Requirements, Expr::value(listed))
            .col_expr(flow::Column::Updated, Expr::value(clock::now().millis()))
            .filter(flow::Column::Id.eq(flow.uuid()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// What became of an image of this tenant.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn runtime_build(&self, image: &str) -> Result<Option<RuntimeBuild>, Error> {
        let key = (self.id.uuid(), image.to_owned());
        let row = runtime_build::Entity::find_by_id(key).one(self.store.read()).await;
        row.doing("looking for the build of a runtime")?.map(whole).transpose()
    }

    /// Lets the next run try a failed build again at once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn forget_failed_build(&self, image: &str) -> Result<(), Error> {
        const DOING: &str = "forgetting a failed build";
        let tx = self.store.begin(DOING).await?;
        runtime_build::Entity::delete_many()
            .filter(runtime_build::Column::Tenant.eq(self.id.uuid()))
            .filter(runtime_build::Column::Image.eq(image))
            .filter(runtime_build::Column::State.eq(BuildState::Failed.name()))
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)
    }
}

pub(crate) fn whole(row: runtime_build::Model) -> Result<RuntimeBuild, Error> {
    let state = BuildState::named(&row.state);
    Ok(RuntimeBuild {
        state: state.ok_or(Error::Corrupt { what: "state of a build" })?,
        detail: row.detail,
        lock: row.lock,
        updated: Timestamp(row.updated),
    })
}
