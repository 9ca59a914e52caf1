//! Where a run stands among those that wait.

use domain::admission::{OpenRuns, RunLimit};
use domain::id::RunId;
use domain::run::RunState;
use domain::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};

use super::Tenant;
use crate::engine::{AdmissionSettings, PoolSize, QUEUED, limits_of};
use crate::entity::{run, task};
use crate::error::{Doing, Error};

const DOING: &str = "looking where a run stands";

/// Runs before another one are counted up to here.
const AHEAD_MAX: u64 = 10_000;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: RunState,
    /// It is not started before.
    pub not_before: Option<Timestamp>,
    /// Queued runs of the tenant that go before it; at most ten thousand are counted.
    pub ahead: u32,
    /// The first limit that keeps it from being started, with how many runs are open.
    pub limit: Option<(RunLimit, u32)>,
    /// The queue of its tasks, once one was ready; before, the pool that it was sent to.
    pub queue: Option<String>,
    /// The workers of that pool; of all pools where it is not known.
    pub workers: PoolSize,
    /// Tasks, whosever, that are in their slots or offered.
    pub taken: u32,
    /// Those of this tenant among them.
    pub own: u32,
}

impl Tenant {
    /// Where the run stands among those that wait.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn standing(&self, id: RunId, now: Timestamp) -> Result<Standing, Error> {
        let row = run::Entity::find_by_id(id.uuid())
            .filter(run::Column::Tenant.eq(self.id.uuid()))
            .one(self.store.read())
            .await
            .doing(DOING)?
            .ok_or(Error::NotFound { what: "run" })?;
        let state = RunState::named(&row.state).ok_or(Error::Corrupt { what: "state of a run" })?;
        let is_queued = state == RunState::Queued;
        let (ahead, limit) = match is_queued {
            true => (self.ahead_of(&row).await?, self.limit_of(&row).await?),
            false => (0, None),
        };
        let queue = self.queue_of(&row).await?;
        let (workers, taken, own) = self.load_of(queue.as_deref(), now).await?;
        let not_before = row.not_before.map(Timestamp).filter(|_| is_queued);
        Ok(Standing { state, not_before, ahead, limit, queue, workers, taken, own })
    }

    async fn ahead_of(&self, row: &run::Model) -> Result<u32, Error> {
        use run::Column as C;
        let earlier = Condition::any()
            .add(C::Created.lt(row.created))
            .add(Condition::all().add(C::Created.eq(row.created)).add(C::Id.lt(row.id)));
        let before = Condition::any()
            .add(C::Priority.gt(row.priority))
            .add(Condition::all().add(C::Priority.eq(row.priority)).add(earlier));
        let ahead: Vec<i32> = run::Entity::find()
            .select_only()
            .expr(Expr::val(1))
            .filter(Expr::cust(QUEUED))
            .filter(C::Pool.eq(row.pool.as_str()))
            .filter(C::Tenant.eq(self.id.uuid()))
            .filter(before)
            .limit(AHEAD_MAX)
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        Ok(u32::try_from(ahead.len()).unwrap_or(u32::MAX))
    }

    async fn limit_of(&self, row: &run::Model) -> Result<Option<(RunLimit, u32)>, Error> {
        let settings: AdmissionSettings = self.store.engine().admission_settings().await?;
        let limits = limits_of(self.id, row, &settings)?;
        let mut open = OpenRuns::default();
        for group in self.store.engine().open_runs(&[self.id]).await? {
            for key in group.keys {
                open.note(self.id, key, group.runs);
            }
        }
        let reached = open.allows(self.id, &limits).err();
        Ok(reached.map(|limit| (limit.clone(), open.count(self.id, &limit.key))))
    }

    async fn queue_of(&self, row: &run::Model) -> Result<Option<String>, Error> {
        let queue: Option<Option<String>> = task::Entity::find()
            .select_only()
            .column(task::Column::Queue)
            .filter(task::Column::Run.eq(row.id))
            .filter(task::Column::Queue.is_not_null())
            .limit(1)
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(DOING)?;
        let asked = Some(row.pool.clone()).filter(|pool| !pool.is_empty());
        Ok(queue.flatten().or(asked))
    }

    /// Only sums leave: who else holds slots is nobody's business.
    async fn load_of(
        &self,
        queue: Option<&str>,
        now: Timestamp,
    ) -> Result<(PoolSize, u32, u32), Error> {
        let engine = self.store.engine();
        let pool = queue.map(|queue| queue.split('/').next().unwrap_or(queue));
        let mut workers = PoolSize::default();
        for (name, size) in engine.pool_sizes(now).await? {
            if pool.is_none_or(|pool| pool == name || name.is_empty()) {
                workers.workers = workers.workers.saturating_add(size.workers);
                workers.slots = workers.slots.saturating_add(size.slots);
            }
        }
        let (mut taken, mut own) = (0u32, 0u32);
        for (name, tenant, held) in engine.held_slots().await? {
            if queue.is_none_or(|queue| queue == name) {
                let tasks = held.offered.saturating_add(held.in_slots);
                taken = taken.saturating_add(tasks);
                own = own.saturating_add(if tenant == self.id { tasks } else { 0 });
            }
        }
        Ok((workers, taken, own))
    }
}
