//! What became of images with flows' own packages, as workers report it.

use domain::id::TenantId;
use domain::runtime::BuildState;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use super::Engine;
use crate::entity::runtime_build;
use crate::error::{Doing, Error};
use crate::tenant::runtimes::{RuntimeBuild, whole};

const DOING: &str = "recording the build of a runtime";

impl Engine {
    /// What became of an image.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub async fn runtime_build(
        &self,
        tenant: TenantId,
        image: &str,
    ) -> Result<Option<RuntimeBuild>, Error> {
        let key = (tenant.uuid(), image.to_owned());
        let row = runtime_build::Entity::find_by_id(key).one(self.store.read()).await;
        row.doing("looking for the build of a runtime")?.map(whole).transpose()
    }

    /// Records what a worker says; `detail` is its step or its reason. An image that one worker
    /// has stays ready, whatever another one does.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn record_build(
        &self,
        tenant: TenantId,
        image: &str,
        (state, detail): (BuildState, &str),
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.store.begin(DOING).await?;
        insert(&tx, tenant, image, now).await?;
        let mut update = runtime_build::Entity::update_many()
            .col_expr(runtime_build::Column::State, Expr::value(state.name()))
            .col_expr(runtime_build::Column::Detail, Expr::value(storable(detail)))
            .col_expr(runtime_build::Column::Updated, Expr::value(now.millis()))
            .filter(runtime_build::Column::Tenant.eq(tenant.uuid()))
            .filter(runtime_build::Column::Image.eq(image));
        if state != BuildState::Ready {
            update = update.filter(runtime_build::Column::State.ne(BuildState::Ready.name()));
        }
        update.exec(&tx).await.doing(DOING)?;
        tx.commit().await.doing(DOING)
    }

    /// Keeps what an image's requirements were resolved to, unless somebody was faster. Returns
    /// the lock that counts.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn keep_lock(
        &self,
        tenant: TenantId,
        image: &str,
        lock: &str,
        now: Timestamp,
    ) -> Result<String, Error> {
        let tx = self.store.begin(DOING).await?;
        insert(&tx, tenant, image, now).await?;
        runtime_build::Entity::update_many()
            .col_expr(runtime_build::Column::Lock, Expr::value(storable(lock)))
            .filter(runtime_build::Column::Tenant.eq(tenant.uuid()))
            .filter(runtime_build::Column::Image.eq(image))
            .filter(runtime_build::Column::Lock.is_null())
            .exec(&tx)
            .await
            .doing(DOING)?;
        let kept = runtime_build::Entity::find_by_id((tenant.uuid(), image.to_owned()))
            .one(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(kept.and_then(|row| row.lock).unwrap_or_else(|| lock.to_owned()))
    }
}

/// A row that waits, where there is none.
async fn insert(
    tx: &DatabaseTransaction,
    tenant: TenantId,
    image: &str,
    now: Timestamp,
) -> Result<(), Error> {
    use runtime_build::Column;
    let row = runtime_build::ActiveModel {
        tenant: Set(tenant.uuid()),
        image: Set(image.to_owned()),
        state: Set(BuildState::Queued.name().to_owned()),
        detail: Set(String::new()),
        lock: Set(None),
        created: Set(now.millis()),
        updated: Set(now.millis()),
    };
    let there = OnConflict::columns([Column::Tenant, Column::Image]).do_nothing().to_owned();
    runtime_build::Entity::insert(row)
        .on_conflict(there)
        .exec_without_returning(tx)
        .await
        .doing(DOING)?;
    Ok(())
}

/// Postgres cannot store the character NUL, and an installer may say anything.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
