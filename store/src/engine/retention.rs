//! Removing what is older than its tenant keeps it.
//!
//! Each call is one small transaction. Whatever is interrupted is found again: runs by their end,
//! payloads because nobody refers to them.

use std::collections::HashMap;
use std::time::Duration;

use domain::id::{RunId, TenantId};
use domain::retention::Overrides;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, OnConflict};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    TryInsertResult,
};
use uuid::Uuid;

use super::Engine;
use crate::entity::{
    human_request, message, payload, result, run, sweep, tenant, tenant_retention,
};
use crate::error::{Doing, Error};
use crate::objects::upload;
use crate::payload as payloads;
use crate::tenant::retention::overrides;

const DOING: &str = "removing ended runs";

/// Whose ended runs are to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The tenant.
    pub tenant: TenantId,
    /// Before this time.
    pub ended_before: Timestamp,
    /// Whether their chat messages go with them.
    pub messages: bool,
}

/// What a batch removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many runs.
    pub runs: u64,
    /// Those of them whose event log was never archived: it may still be on the bus.
    pub unarchived: Vec<RunId>,
    /// Hashes of payloads to which they referred.
    pub payloads: Vec<Vec<u8>>,
}

impl Engine {
    /// All tenants, with what is set for each.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub async fn retentions(&self) -> Result<Vec<(TenantId, Overrides)>, Error> {
        const DOING: &str = "reading retentions";
        let db = self.store.read();
        let tenants: Vec<Uuid> = tenant::Entity::find()
            .select_only()
            .column(tenant::Column::Id)
            .order_by_asc(tenant::Column::Id)
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        let rows = tenant_retention::Entity::find().all(db).await.doing(DOING)?;
        let set: HashMap<Uuid, _> = rows.into_iter().map(|row| (row.tenant, row)).collect();
        let of = |tenant: Uuid| {
            let set = set.get(&tenant).map(overrides).transpose()?;
            Ok((TenantId(tenant), set.unwrap_or_default()))
        };
        tenants.into_iter().map(of).collect()
    }

    /// Removes runs, the ones that ended first, with all that belongs to them alone. Payloads stay:
    /// others may refer to them.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn remove_runs(&self, expired: &Expired, limit: u64) -> Result<Removed, Error> {
        let tx = self.store.begin(DOING).await?;
        let rows: Vec<(Uuid, Option<Vec<u8>>)> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .column(run::Column::EventLog)
            .filter(run::Column::Tenant.eq(expired.tenant.uuid()))
            .filter(run::Column::Ended.lt(expired.ended_before.millis()))
            .order_by_asc(run::Column::Ended)
            .limit(limit)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_tuple()
            .all(&tx)
            .await
            .doing(DOING)?;
        if rows.is_empty() {
            return Ok(Removed::default());
        }
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
        let mut removed = Removed { payloads: referred(&tx, &ids).await?, ..Removed::default() };
        for (id, log) in rows {
            match log {
                Some(sha256) => removed.payloads.push(sha256),
                None => removed.unarchived.push(RunId(id)),
            }
        }
        if expired.messages {
            message::Entity::delete_many()
                .filter(message::Column::Tenant.eq(expired.tenant.uuid()))
                .filter(message::Column::Run.is_in(ids.iter().copied()))
                .exec(&tx)
                .await
                .doing(DOING)?;
        }
        // The rows of tasks, attempts, results, connections and questions go with their run.
        let runs = run::Entity::delete_many().filter(run::Column::Id.is_in(ids)).exec(&tx);
        removed.runs = runs.await.doing(DOING)?.rows_affected;
        tx.commit().await.doing(DOING)?;
        removed.payloads.sort_unstable();
        removed.payloads.dedup();
        Ok(removed)
    }

    /// Removes those of these payloads that nobody refers to and nobody wanted since
    /// `untouched_since`; tells how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn remove_payloads(
        &self,
        tenant: TenantId,
        hashes: &[Vec<u8>],
        untouched_since: Timestamp,
    ) -> Result<u64, Error> {
        const DOING: &str = "removing payloads";
        if hashes.is_empty() {
            return Ok(0);
        }
        let tx = self.store.begin(DOING).await?;
        let removed = payloads::remove(&tx, tenant, hashes, untouched_since).await?;
        tx.commit().await.doing(DOING)?;
        Ok(removed)
    }

    /// The hashes of a tenant's payloads that nobody wanted since `untouched_since`, in order, from
    /// the one after `after`. Somebody may refer to them all the same.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn payloads_after(
        &self,
        tenant: TenantId,
        after: &[u8],
        untouched_since: Timestamp,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let touched = Expr::cust("COALESCE(touched, created)").lt(untouched_since.millis());
        payload::Entity::find()
            .select_only()
            .column(payload::Column::Sha256)
            .filter(payload::Column::Tenant.eq(tenant.uuid()))
            .filter(payload::Column::Sha256.gt(after))
            .filter(touched)
            .order_by_asc(payload::Column::Sha256)
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing("looking for payloads")
    }

    /// Deletes objects that no payload refers to since `before`: what is left of removed payloads
    /// and of uploads that came to nothing. Tells how many; none where there is no object storage.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Objects`]: the rest is found again.
    pub async fn remove_objects(&self, before: Timestamp, limit: u64) -> Result<u64, Error> {
        upload::remove_loose(&self.store, before, limit).await
    }

    /// Takes or keeps the work of this name for a while; false when another holder has it. Two
    /// holders at once, one of which was asleep for longer than that, only do the same twice.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn hold_sweep(
        &self,
        name: &str,
        holder: Uuid,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool, Error> {
        use sweep::Column;
        const DOING: &str = "taking a sweep";
        let row = sweep::ActiveModel {
            name: Set(name.to_owned()),
            holder: Set(holder),
            until: Set((now + lease).millis()),
        };
        let is_free = Expr::col((sweep::Entity, Column::Until)).lte(now.millis()).or(Expr::col((
            sweep::Entity,
            Column::Holder,
        ))
        .eq(holder));
        let take = OnConflict::column(Column::Name)
            .update_columns([Column::Holder, Column::Until])
            .action_and_where(is_free)
            .to_owned();
        let tx = self.store.begin(DOING).await?;
        let taken = sweep::Entity::insert(row)
            .on_conflict(take)
            .try_insert()
            .exec_without_returning(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(matches!(taken, TryInsertResult::Inserted(rows) if rows > 0))
    }
}

/// The payloads of results and questions of these runs.
async fn referred(tx: &DatabaseTransaction, runs: &[Uuid]) -> Result<Vec<Vec<u8>>, Error> {
    let mut hashes: Vec<Vec<u8>> = result::Entity::find()
        .select_only()
        .column(result::Column::Payload)
        .filter(result::Column::Run.is_in(runs.iter().copied()))
        .filter(result::Column::Payload.is_not_null())
        .into_tuple()
        .all(tx)
        .await
        .doing(DOING)?;
    let saved: Vec<Vec<u8>> = human_request::Entity::find()
        .select_only()
        .column(human_request::Column::Saved)
        .filter(human_request::Column::Run.is_in(runs.iter().copied()))
        .filter(human_request::Column::Saved.is_not_null())
        .into_tuple()
        .all(tx)
        .await
        .doing(DOING)?;
    hashes.extend(saved);
    Ok(hashes)
}
