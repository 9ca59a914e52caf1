//! What admission looks at, and what it remembers.
//!
//! Every query here reads partial indexes of what is open now: their cost does not depend on how
//! many runs have ended, and little on how many wait.

use std::collections::BTreeMap;

use domain::admission::{Held, LimitKey, QueuedRun, ReadyTask, RunLimit, Shares, TenantSettings};
use domain::id::{FlowId, KeyId, RunId, TenantId};
use domain::limits::REDISPATCH;
use domain::time::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::Engine;
use super::load::number;
use super::walk::{self, Walk};
use crate::entity::{api_key, flow_limits, queue, queue_share, run, task, tenant_limits, worker};
use crate::error::{Doing, Error};
use crate::json;

const DOING: &str = "looking at what waits";

/// Tasks that may be offered and were not.
const READY: &str = "state = 'ready' AND dispatched IS NULL";

/// Runs that wait for their turn. A child has none: a component waits for it and holds a slot
/// meanwhile, so it is started at once, and no limit may hold it back.
pub(crate) const QUEUED: &str = "state = 'queued' AND not_before IS NULL AND parent_run IS NULL";

/// Tasks that are in a slot, or on their way to one.
const HELD: &str = "state IN ('leased', 'running') OR (state = 'ready' AND dispatched IS NOT NULL)";

/// The workers of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSize {
    /// How many live.
    pub workers: u32,
    /// How many cells they can run at once.
    pub slots: u32,
}

/// Started runs of the same flow, key and concurrency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGroup {
    /// Whose they are.
    pub tenant: TenantId,
    /// What they count against.
    pub keys: Vec<LimitKey>,
    /// How many they are.
    pub runs: u32,
}

/// Everything that is set for admission on this installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Of tenants.
    pub tenants: BTreeMap<TenantId, TenantSettings>,
    /// Most open runs of flows.
    pub flows: BTreeMap<FlowId, u32>,
    /// Most open runs of API keys.
    pub keys: BTreeMap<KeyId, u32>,
}

/// Keeps the other schedulers from a round of their own.
#[derive(Debug)]
pub struct RoundLock(
    #[expect(dead_code, reason = "the lock ends with it")] Option<DatabaseTransaction>,
);

impl Engine {
    /// Lets one scheduler at a time do a round; `None` while another one does. With two at once
    /// nothing would break, but both would offer the same.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn lock_round(&self) -> Result<Option<RoundLock>, Error> {
        if !self.store.is_postgres() {
            // There is one process only, and it does one round at a time.
            return Ok(Some(RoundLock(None)));
        }
        let tx = self.store.begin(DOING).await?;
        let held = crate::connect::try_lock_round(&tx).await.doing(DOING)?;
        Ok(held.then_some(RoundLock(Some(tx))))
    }

    /// The tenants with tasks that wait, by queue.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn queues_waiting(&self) -> Result<Vec<(String, Vec<TenantId>)>, Error> {
        let walk = Walk { table: "tasks", first: "queue", second: "tenant", only: READY };
        walk::distinct(self.store.read(), walk).await.doing(DOING)
    }

    /// The tenants with runs that wait, by pool; the empty one is the schedulers' own.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pools_waiting(&self) -> Result<Vec<(String, Vec<TenantId>)>, Error> {
        let walk = Walk { table: "runs", first: "pool", second: "tenant", only: QUEUED };
        walk::distinct(self.store.read(), walk).await.doing(DOING)
    }

    /// A tenant's most urgent tasks of a queue.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn ready_tasks(
        &self,
        queue: &str,
        tenant: TenantId,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<ReadyTask>, Error> {
        let due = task::Column::NotBefore.is_null();
        let rows: Vec<(Uuid, i64, i64)> = task::Entity::find()
            .select_only()
            .columns([task::Column::Run, task::Column::Position, task::Column::Priority])
            .filter(Expr::cust(READY))
            .filter(task::Column::Queue.eq(queue))
            .filter(task::Column::Tenant.eq(tenant.uuid()))
            .filter(Condition::any().add(due).add(task::Column::NotBefore.lte(now.millis())))
            .order_by_desc(task::Column::Priority)
            .order_by_asc(task::Column::Run)
            .order_by_asc(task::Column::Position)
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        rows.into_iter()
            .map(|(run, position, priority)| {
                let (task, priority) = (number(position)?, small(priority)?);
                Ok(ReadyTask { run: RunId(run), task, priority })
            })
            .collect()
    }

    /// A tenant's most urgent runs of a pool. Those that count against one of the `reached` limits
    /// are passed over.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn queued_runs(
        &self,
        pool: &str,
        tenant: TenantId,
        settings: &AdmissionSettings,
        reached: &[LimitKey],
        limit: u64,
    ) -> Result<Vec<QueuedRun>, Error> {
        let rows: Vec<QueuedRow> = run::Entity::find()
            .select_only()
            .columns([run::Column::Id, run::Column::Priority, run::Column::Flow])
            .columns([
                run::Column::ApiKey,
                run::Column::ConcurrencyKey,
                run::Column::ConcurrencyMax,
            ])
            .filter(Expr::cust(QUEUED))
            .filter(run::Column::Pool.eq(pool))
            .filter(run::Column::Tenant.eq(tenant.uuid()))
            .filter(not_counted_by(reached))
            .order_by_desc(run::Column::Priority)
            .order_by_asc(run::Column::Created)
            .order_by_asc(run::Column::Id)
            .limit(limit)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        rows.into_iter().map(|row| queued_run(tenant, row, settings)).collect()
    }

    /// What each tenant holds of each queue.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn held_slots(&self) -> Result<Vec<(String, TenantId, Held)>, Error> {
        let rows: Vec<(String, Uuid, i64, i64)> = task::Entity::find()
            .select_only()
            .column(task::Column::Queue)
            .column(task::Column::Tenant)
            .column_as(task::Column::Position.count(), "held")
            // Who holds a task has its slot.
            .column_as(task::Column::LeaseWorker.count(), "in_slots")
            .filter(Expr::cust(format!("({HELD})")))
            .filter(task::Column::Queue.is_not_null())
            .filter(task::Column::Tenant.is_not_null())
            .group_by(task::Column::Queue)
            .group_by(task::Column::Tenant)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        rows.into_iter()
            .map(|(queue, tenant, held, in_slots)| {
                let held = Held { offered: number(held - in_slots)?, in_slots: number(in_slots)? };
                Ok((queue, TenantId(tenant), held))
            })
            .collect()
    }

    /// The started runs of these tenants.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn open_runs(&self, tenants: &[TenantId]) -> Result<Vec<OpenGroup>, Error> {
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        let by = [
            run::Column::Tenant,
            run::Column::Flow,
            run::Column::ApiKey,
            run::Column::ConcurrencyKey,
        ];
        let mut query = run::Entity::find().select_only().columns(by);
        for column in by {
            query = query.group_by(column);
        }
        let rows: Vec<OpenRow> = query
            .column_as(run::Column::Id.count(), "runs")
            .filter(Expr::cust("state = 'running'"))
            .filter(run::Column::Tenant.is_in(tenants.iter().map(|tenant| tenant.uuid())))
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        rows.into_iter()
            .map(|(tenant, flow, key, custom, runs)| {
                let keys = limit_keys(flow, key, custom);
                Ok(OpenGroup { tenant: TenantId(tenant), keys, runs: number(runs)? })
            })
            .collect()
    }

    /// The workers that live, by pool; the empty one is the schedulers' own.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn pool_sizes(&self, now: Timestamp) -> Result<BTreeMap<String, PoolSize>, Error> {
        let rows: Vec<(Option<String>, i64)> = worker::Entity::find()
            .select_only()
            .columns([worker::Column::Pool, worker::Column::Slots])
            .filter(worker::Column::LeaseUntil.gte(now.millis()))
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let mut sizes: BTreeMap<String, PoolSize> = BTreeMap::new();
        for (pool, slots) in rows {
            let size = sizes.entry(pool.unwrap_or_default()).or_default();
            size.workers = size.workers.saturating_add(1);
            size.slots = size.slots.saturating_add(number(slots)?);
        }
        Ok(sizes)
    }

    /// What tenants have had of each queue.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn shares(&self) -> Result<BTreeMap<String, Shares>, Error> {
        let db = self.store.read();
        let mut shares: BTreeMap<String, Shares> = BTreeMap::new();
        for row in queue::Entity::find().all(db).await.doing(DOING)? {
            let share = shares.entry(row.name).or_default();
            share.at = Timestamp(row.round);
            share.present = u64::try_from(row.present).unwrap_or(0);
        }
        for row in queue_share::Entity::find().all(db).await.doing(DOING)? {
            let time = u64::try_from(row.virtual_time).unwrap_or(0);
            shares.entry(row.queue).or_default().known.insert(TenantId(row.tenant), time);
        }
        Ok(shares)
    }

    /// Remembers them for the next round, whoever does it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn keep_shares(&self, name: &str, shares: &Shares) -> Result<(), Error> {
        const DOING: &str = "keeping what tenants have had";
        let tx = self.store.begin(DOING).await?;
        let row = queue::ActiveModel {
            name: Set(name.to_owned()),
            round: Set(shares.at.millis()),
            present: Set(whole(shares.present)),
        };
        let replace = OnConflict::column(queue::Column::Name)
            .update_columns([queue::Column::Round, queue::Column::Present])
            .to_owned();
        let insert = queue::Entity::insert(row).on_conflict(replace);
        insert.exec_without_returning(&tx).await.doing(DOING)?;
        queue_share::Entity::delete_many()
            .filter(queue_share::Column::Queue.eq(name))
            .exec(&tx)
            .await
            .doing(DOING)?;
        let rows = shares.known.iter().map(|(tenant, time)| queue_share::ActiveModel {
            queue: Set(name.to_owned()),
            tenant: Set(tenant.uuid()),
            virtual_time: Set(whole(*time)),
        });
        let rows: Vec<_> = rows.collect();
        for rows in rows.chunks(1_000) {
            let insert = queue_share::Entity::insert_many(rows.to_vec());
            insert.exec_without_returning(&tx).await.doing(DOING)?;
        }
        tx.commit().await.doing(DOING)
    }

    /// Everything that is set.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn admission_settings(&self) -> Result<AdmissionSettings, Error> {
        const DOING: &str = "reading the settings of admission";
        let db = self.store.read();
        let mut settings = AdmissionSettings::default();
        let tenants =
            tenant_limits::Entity::find().filter(tenant_limits::Column::Admission.is_not_null());
        for row in tenants.all(db).await.doing(DOING)? {
            let set = json::from_optional("settings of admission", row.admission.as_deref())?;
            settings.tenants.insert(TenantId(row.tenant), set.unwrap_or_default());
        }
        let flows: Vec<(Uuid, Option<String>)> = flow_limits::Entity::find()
            .select_only()
            .columns([flow_limits::Column::Flow, flow_limits::Column::Admission])
            .filter(flow_limits::Column::Admission.is_not_null())
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        for (flow, set) in flows {
            let set: Option<domain::admission::FlowSettings> =
                json::from_optional("settings of admission", set.as_deref())?;
            if let Some(most) = set.and_then(|set| set.runs_max) {
                settings.flows.insert(FlowId(flow), most);
            }
        }
        let keys: Vec<(Uuid, Option<i64>)> = api_key::Entity::find()
            .select_only()
            .columns([api_key::Column::Id, api_key::Column::RunsMax])
            .filter(api_key::Column::RunsMax.is_not_null())
            .filter(api_key::Column::Revoked.is_null())
            .into_tuple()
            .all(db)
            .await
            .doing(DOING)?;
        for (key, most) in keys {
            settings.keys.insert(KeyId(key), number(most.unwrap_or_default())?);
        }
        Ok(settings)
    }

    /// Lets runs into the queue whose time has come. Gives how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn end_delays(&self, now: Timestamp) -> Result<u64, Error> {
        const DOING: &str = "letting delayed runs into the queue";
        let due = Condition::all()
            .add(Expr::cust("state = 'queued' AND not_before IS NOT NULL"))
            .add(run::Column::NotBefore.lte(now.millis()));
        let some = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .filter(due.clone())
            .limit(1)
            .into_tuple::<Uuid>();
        if some.one(self.store.read()).await.doing(DOING)?.is_none() {
            return Ok(0);
        }
        let tx = self.store.begin(DOING).await?;
        let changed = run::Entity::update_many()
            .col_expr(run::Column::NotBefore, Expr::value(None::<i64>))
            .filter(due)
            .exec(&tx)
            .await
            .doing(DOING)?;
        tx.commit().await.doing(DOING)?;
        Ok(changed.rows_affected)
    }

    /// Tasks whose offer must have been lost, and ready ones of a program that knew no admission.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn lost_offers(
        &self,
        now: Timestamp,
        limit: u64,
    ) -> Result<BTreeMap<RunId, Vec<u32>>, Error> {
        let offered = Condition::all()
            .add(Expr::cust("state = 'ready' AND dispatched IS NOT NULL"))
            .add(task::Column::Dispatched.lte((now - REDISPATCH).millis()));
        let due = Condition::any()
            .add(task::Column::NotBefore.is_null())
            .add(task::Column::NotBefore.lte(now.millis()));
        let unknown =
            Condition::all().add(Expr::cust(READY)).add(task::Column::Queue.is_null()).add(due);
        let mut lost: BTreeMap<RunId, Vec<u32>> = BTreeMap::new();
        for lost_so in [offered, unknown] {
            let rows: Vec<(Uuid, i64)> = task::Entity::find()
                .select_only()
                .columns([task::Column::Run, task::Column::Position])
                .filter(lost_so)
                .limit(limit)
                .into_tuple()
                .all(self.store.read())
                .await
                .doing(DOING)?;
            for (run, position) in rows {
                lost.entry(RunId(run)).or_default().push(number(position)?);
            }
        }
        Ok(lost)
    }
}

/// Tenant, flow, API key, concurrency key, and how many.
type OpenRow = (Uuid, Uuid, Option<Uuid>, Option<String>, i64);

/// Run, priority, flow, API key, concurrency key and its limit.
type QueuedRow = (Uuid, i64, Uuid, Option<Uuid>, Option<String>, Option<i64>);

fn queued_run(
    tenant: TenantId,
    (run, priority, flow, key, custom, most): QueuedRow,
    settings: &AdmissionSettings,
) -> Result<QueuedRun, Error> {
    let limits = limits(tenant, limit_keys(flow, key, custom), most, settings)?;
    Ok(QueuedRun { run: RunId(run), priority: small(priority)?, limits })
}

/// The limits that a stored run counts against.
pub(crate) fn limits_of(
    tenant: TenantId,
    row: &run::Model,
    settings: &AdmissionSettings,
) -> Result<Vec<RunLimit>, Error> {
    let keys = limit_keys(row.flow, row.api_key, row.concurrency_key.clone());
    limits(tenant, keys, row.concurrency_max, settings)
}

fn limits(
    tenant: TenantId,
    keys: Vec<LimitKey>,
    custom_max: Option<i64>,
    settings: &AdmissionSettings,
) -> Result<Vec<RunLimit>, Error> {
    let custom_max = custom_max.map(number).transpose()?;
    let of_tenant = settings.tenants.get(&tenant).and_then(|set| set.runs_max);
    let most = |key: &LimitKey| match key {
        LimitKey::Tenant => of_tenant,
        LimitKey::Flow(flow) => settings.flows.get(flow).copied(),
        LimitKey::ApiKey(key) => settings.keys.get(key).copied(),
        LimitKey::Custom(_) => custom_max,
    };
    Ok(keys.into_iter().filter_map(|key| Some(RunLimit { most: most(&key)?, key })).collect())
}

/// What a run counts against.
pub(super) fn limit_keys(flow: Uuid, key: Option<Uuid>, custom: Option<String>) -> Vec<LimitKey> {
    let mut keys = vec![LimitKey::Tenant, LimitKey::Flow(FlowId(flow))];
    keys.extend(key.map(|key| LimitKey::ApiKey(KeyId(key))));
    keys.extend(custom.map(LimitKey::Custom));
    keys
}

fn not_counted_by(reached: &[LimitKey]) -> Condition {
    let or_none = |column: run::Column, other: Expr| column.is_null().or(other);
    reached.iter().fold(Condition::all(), |condition, key| match key {
        LimitKey::Tenant => condition.add(Expr::cust("1 = 0")),
        LimitKey::Flow(flow) => condition.add(run::Column::Flow.ne(flow.uuid())),
        LimitKey::ApiKey(key) => {
            condition.add(or_none(run::Column::ApiKey, run::Column::ApiKey.ne(key.uuid())))
        }
        LimitKey::Custom(key) => condition.add(or_none(
            run::Column::ConcurrencyKey,
            run::Column::ConcurrencyKey.ne(key.as_str()),
        )),
    })
}

fn small(value: i64) -> Result<i32, Error> {
    i32::try_from(value).map_err(|_| Error::Corrupt { what: "priority" })
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
