//! How a tenant's runs are admitted: what is set, how many wait, how fast they come.

use std::time::Duration;

use domain::admission::{FlowSettings, TenantSettings};
use domain::id::{FlowId, KeyId};
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Asterisk, Expr, ExprTrait, LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait, TryInsertResult,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Tenant;
use crate::clock;
use crate::entity::{api_key, flow_limits, run, run_rate, tenant_limits};
use crate::error::{Doing, Error};
use crate::json::{from_optional, to_text};

const READING: &str = "reading the settings of admission";
const SETTING: &str = "setting admission";

/// Runs that come within this time may come at once.
const BURST: Duration = Duration::from_secs(10);

impl Tenant {
    /// What is set for the tenant.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn admission(&self) -> Result<TenantSettings, Error> {
        let set: Option<Option<String>> = tenant_limits::Entity::find_by_id(self.id.uuid())
            .select_only()
            .column(tenant_limits::Column::Admission)
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(READING)?;
        read(set)
    }

    /// Sets all of it; what is absent is not set any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant that does not exist.
    pub async fn set_admission(&self, settings: &TenantSettings) -> Result<(), Error> {
        let tx = self.store.begin(SETTING).await?;
        self.lock(&tx).await?;
        use tenant_limits::Column;
        let row = tenant_limits::ActiveModel {
            tenant: Set(self.id.uuid()),
            limits: Set("{}".to_owned()),
            maximum: Set("{}".to_owned()),
            updated: Set(clock::now().millis()),
            admission: Set(stored(settings)),
        };
        let replace = OnConflict::column(Column::Tenant)
            .update_columns([Column::Admission, Column::Updated])
            .to_owned();
        tenant_limits::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(SETTING)?;
        tx.commit().await.doing(SETTING)
    }

    /// What is set for a flow.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn flow_admission(&self, flow: FlowId) -> Result<FlowSettings, Error> {
        self.flow_row(self.store.read(), flow, None).await?;
        self.flow_settings(flow).await
    }

    /// What is set for a flow that is about to run, and for its tenant.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn admission_for(
        &self,
        flow: FlowId,
    ) -> Result<(TenantSettings, FlowSettings), Error> {
        futures::future::try_join(self.admission(), self.flow_settings(flow)).await
    }

    async fn flow_settings(&self, flow: FlowId) -> Result<FlowSettings, Error> {
        let set: Option<Option<String>> =
            flow_limits::Entity::find_by_id((self.id.uuid(), flow.uuid()))
                .select_only()
                .column(flow_limits::Column::Admission)
                .into_tuple()
                .one(self.store.read())
                .await
                .doing(READING)?;
        read(set)
    }

    /// Sets all of it for a flow; what is absent is not set any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign flow.
    pub async fn set_flow_admission(
        &self,
        flow: FlowId,
        settings: &FlowSettings,
    ) -> Result<(), Error> {
        let tx = self.store.begin(SETTING).await?;
        self.flow_row(&tx, flow, Some(LockType::KeyShare)).await?;
        use flow_limits::Column;
        let row = flow_limits::ActiveModel {
            tenant: Set(self.id.uuid()),
            flow: Set(flow.uuid()),
            limits: Set("{}".to_owned()),
            updated: Set(clock::now().millis()),
            admission: Set(stored(settings)),
        };
        let replace = OnConflict::columns([Column::Tenant, Column::Flow])
            .update_columns([Column::Admission, Column::Updated])
            .to_owned();
        flow_limits::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&tx)
            .await
            .doing(SETTING)?;
        tx.commit().await.doing(SETTING)
    }

    /// The most runs of an API key that are open at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign key.
    pub async fn key_runs_max(&self, key: KeyId) -> Result<Option<u32>, Error> {
        let most: Option<Option<i64>> = api_key::Entity::find_by_id(key.uuid())
            .select_only()
            .column(api_key::Column::RunsMax)
            .filter(api_key::Column::Tenant.eq(self.id.uuid()))
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(READING)?;
        let most = most.ok_or(Error::NotFound { what: "API key" })?;
        Ok(most.and_then(|most| u32::try_from(most).ok()))
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a foreign key.
    pub async fn set_key_runs_max(&self, key: KeyId, most: Option<u32>) -> Result<(), Error> {
        let tx = self.store.begin(SETTING).await?;
        let changed = api_key::Entity::update_many()
            .col_expr(api_key::Column::RunsMax, Expr::value(most.map(i64::from)))
            .filter(api_key::Column::Id.eq(key.uuid()))
            .filter(api_key::Column::Tenant.eq(self.id.uuid()))
            .exec(&tx)
            .await
            .doing(SETTING)?;
        if changed.rows_affected == 0 {
            return Err(Error::NotFound { what: "API key" });
        }
        tx.commit().await.doing(SETTING)
    }

    /// How many of the tenant's runs wait, counted up to `most`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn queued_runs(&self, most: u32) -> Result<u32, Error> {
        const DOING: &str = "counting runs that wait";
        let some = run::Entity::find()
            .select_only()
            .expr(Expr::val(1))
            .filter(Expr::cust("state = 'queued'"))
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .limit(u64::from(most))
            .into_query();
        let count =
            Query::select().expr(Expr::col(Asterisk).count()).from_subquery(some, "waiting").take();
        let row = self.store.read().query_one(&count).await.doing(DOING)?;
        let row = row.ok_or(Error::Corrupt { what: "number of runs" })?;
        let count: i64 = row.try_get_by_index(0).doing(DOING)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Takes one run out of what a minute allows.
    pub(super) async fn keep_pace(
        &self,
        tx: &DatabaseTransaction,
        per_minute: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        const DOING: &str = "keeping a rate limit";
        let every = Duration::from_millis(60_000 / u64::from(per_minute.clamp(1, 60_000)));
        let due = Expr::col((run_rate::Entity, run_rate::Column::Due));
        // At an even pace the next one would be due one step after this one, or after now.
        let later = Expr::case(due.clone().gt(now.millis()), due.clone())
            .finally(now.millis())
            .add(i64::try_from(every.as_millis()).unwrap_or(i64::MAX));
        let mut take = OnConflict::column(run_rate::Column::Tenant);
        take.value(run_rate::Column::Due, later).action_and_where(due.lte((now + BURST).millis()));
        let first =
            run_rate::ActiveModel { tenant: Set(self.id.uuid()), due: Set((now + every).millis()) };
        let taken = run_rate::Entity::insert(first)
            .on_conflict(take)
            .try_insert()
            .exec_without_returning(tx)
            .await
            .doing(DOING)?;
        if matches!(taken, TryInsertResult::Inserted(rows) if rows > 0) {
            return Ok(());
        }
        let due: Option<i64> = run_rate::Entity::find_by_id::<Uuid>(self.id.uuid())
            .select_only()
            .column(run_rate::Column::Due)
            .into_tuple()
            .one(tx)
            .await
            .doing(DOING)?;
        let after = Timestamp(due.unwrap_or_default()).since(now + BURST);
        Err(Error::TooFast { per_minute, after: after.max(Duration::from_millis(1)) })
    }
}

/// No row, or nothing in it, is nothing set.
pub(super) fn read<T: DeserializeOwned + Default>(
    column: Option<Option<String>>,
) -> Result<T, Error> {
    let set = from_optional("settings of admission", column.flatten().as_deref())?;
    Ok(set.unwrap_or_default())
}

/// Nothing set is nothing stored: rounds read only what is.
fn stored<T: serde::Serialize + Default + PartialEq>(settings: &T) -> Option<String> {
    (*settings != T::default()).then(|| to_text(settings))
}
