//! Where a run stands among those that wait.

use std::collections::BTreeMap;

use domain::admission::{OpenRuns, RunLimit};
use domain::id::RunId;
use domain::run::{RunState, TaskState};
use domain::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};

use super::Tenant;
use crate::engine::load::number;
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
    /// The queue of its tasks.
    pub queue: QueueLoad,
    /// The queues of those that have another one, by task.
    pub queues: BTreeMap<u32, QueueLoad>,
}

/// How busy a queue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueLoad {
    /// Its name, once a task of it was ready; before, its pool. None is not known.
    pub name: Option<String>,
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
        let queue = self.load_of(self.queue_of(&row).await?, now).await?;
        let mut queues = BTreeMap::new();
        for (task, name) in self.other_queues(&row).await? {
            queues.insert(task, self.load_of(Some(name), now).await?);
        }
        let not_before = row.not_before.map(Timestamp).filter(|_| is_queued);
        Ok(Standing { state, not_before, ahead, limit, queue, queues })
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
            .filter(task::Column::Pool.is_null())
            .limit(1)
            .into_tuple()
            .one(self.store.read())
            .await
            .doing(DOING)?;
        let asked = Some(row.pool.clone()).filter(|pool| !pool.is_empty());
        Ok(queue.flatten().or(asked))
    }

    /// The queues of open tasks that a node sends elsewhere.
    async fn other_queues(&self, row: &run::Model) -> Result<Vec<(u32, String)>, Error> {
        let open = [TaskState::Waiting, TaskState::Ready].map(TaskState::name);
        let tasks: Vec<(i64, Option<String>)> = task::Entity::find()
            .select_only()
            .columns([task::Column::Position, task::Column::Pool])
            .filter(task::Column::Run.eq(row.id))
            .filter(task::Column::Pool.is_not_null())
            .filter(task::Column::State.is_in(open))
            .into_tuple()
            .all(self.store.read())
            .await
            .doing(DOING)?;
        let depth = row.depth.filter(|depth| *depth > 0);
        let queue = |pool: String| match depth {
            Some(depth) => format!("{pool}/{depth}"),
            None => pool,
        };
        let named = tasks.into_iter().filter_map(|(task, pool)| Some((task, queue(pool?))));
        named.map(|(task, queue)| Ok((number(task)?, queue))).collect()
    }

    /// Only sums leave: who else holds slots is nobody's business.
    async fn load_of(&self, name: Option<String>, now: Timestamp) -> Result<QueueLoad, Error> {
        let engine = self.store.engine();
        let queue = name.as_deref();
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
        Ok(QueueLoad { name, workers, taken, own })
    }
}
