//! Rounds of admission: what waits in the database is started and offered, in fair order.
//!
//! ```text
//! lock ─▶ what waits ─▶ what is held and open ─▶ admit (pure) ─▶ start, offer ─▶ headroom
//! ```
//! One scheduler at a time does a round; which one does not matter. What waits is read before what
//! is held: a run that starts in between is counted and then refused to start again, so a limit is
//! never passed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::admission::{
    Admitted, Backlog, LimitKey, OpenRuns, Policy, Queue, QueuedRun, Round, Shares, Terms,
};
use domain::id::{RunId, TenantId};
use domain::run::Command;
use domain::time::Timestamp;
use futures::StreamExt;
use store::{AdmissionSettings, PoolSize, now};
use tokio_util::sync::CancellationToken;

use crate::admission::{Grant, queues_of};
use crate::engine::{Engine, Start};
use crate::error::Error;
use crate::sweep::quietly;
use crate::task_queue::TaskQueue;

/// Most of a tenant's tasks and runs that one round looks at, of each queue.
const LOOKED_AT_MAX: u32 = 64;

/// How often a round looks further when all that it found of a tenant is held back by limits.
const FURTHER_MAX: usize = 3;

/// Transitions of a round that are made at the same time.
const AT_ONCE: usize = 16;

/// How soon a scheduler tries again while another one does a round.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// After a round that admitted nothing, arrivals wait for so many times as long as it took: runs
/// that come faster than they can be started do not keep the database busy with rounds in vain.
const ARRIVALS_PAUSE: u32 = 4;

/// Longest such pause, which a run may wait although there is a slot for it.
const ARRIVALS_PAUSE_MAX: Duration = Duration::from_millis(50);

/// How old the settings of tenants may be.
const SETTINGS_AGE_MAX: Duration = Duration::from_secs(1);

/// The part that does rounds.
pub(crate) struct Rounds {
    engine: Arc<Engine>,
    policy: Policy,
    every: Duration,
    settings_read: Option<Instant>,
}

/// What came of a round.
#[derive(PartialEq, Eq)]
enum Came {
    /// Another scheduler does one.
    Busy,
    /// Something was admitted: there may be more that can be, now.
    Admitted,
    Nothing,
}

/// Queues with all that waits for them.
type Queues = BTreeMap<TaskQueue, Queue>;

impl Rounds {
    pub(crate) fn new(engine: Arc<Engine>, policy: Policy, every: Duration) -> Self {
        Self { engine, policy, every, settings_read: None }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let began = Instant::now();
            let pause = match self.round().await {
                Ok(Came::Admitted) => continue,
                Ok(Came::Busy) => BUSY_PAUSE,
                Ok(Came::Nothing) => self.every,
                Err(error) => {
                    tracing::warn!(error = %error, "a round of admission was interrupted");
                    self.every
                }
            };
            let rest = (began.elapsed() * ARRIVALS_PAUSE).min(ARRIVALS_PAUSE_MAX);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.engine.admission.wanted() => {}
                () = self.arrivals(rest) => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// Until somebody waits who did not before, and not before this rest.
    async fn arrivals(&self, rest: Duration) {
        tokio::time::sleep(rest).await;
        self.engine.admission.somebody_waiting().await;
    }

    async fn round(&mut self) -> Result<Came, Error> {
        let Some(_lock) = self.engine.store.engine().lock_round().await? else {
            return Ok(Came::Busy);
        };
        self.read_settings().await?;
        let settings = self.engine.admission.settings();
        let now = now();
        let mut queues = self.queues(&settings, now).await?;
        let mut open = self.fill_in(&mut queues).await?;
        self.look_further(&mut queues, &open, &settings).await?;
        let terms: BTreeMap<TenantId, Terms> =
            settings.tenants.iter().map(|(tenant, set)| (*tenant, set.terms())).collect();
        let round = Round { now, policy: self.policy, terms: &terms };
        let mut admitted = Vec::new();
        for (name, queue) in &mut queues {
            let nobody_was = queue.shares.known.is_empty();
            admitted.extend(round.admit(queue, &mut open));
            if !(nobody_was && queue.shares.known.is_empty()) {
                self.engine.store.engine().keep_shares(&name.to_string(), &queue.shares).await?;
            }
        }
        let any = !admitted.is_empty();
        self.carry_out(admitted).await;
        self.leave(&queues);
        Ok(if any { Came::Admitted } else { Came::Nothing })
    }

    async fn read_settings(&mut self) -> Result<(), Error> {
        if self.settings_read.is_none_or(|read| read.elapsed() >= SETTINGS_AGE_MAX) {
            let settings = self.engine.store.engine().admission_settings().await?;
            self.engine.admission.set_settings(settings);
            self.settings_read = Some(Instant::now());
        }
        Ok(())
    }

    /// All queues with their slots and shares, and the most urgent of what waits for them.
    async fn queues(&self, settings: &AdmissionSettings, now: Timestamp) -> Result<Queues, Error> {
        let store = self.engine.store.engine();
        let mut queues = Queues::new();
        for (pool, size) in store.pool_sizes(now).await? {
            for name in queues_of(self.engine.pool_named(&pool)) {
                let slots = slots(size, name.depth);
                let queue = queues.entry(name).or_default();
                queue.slots = queue.slots.saturating_add(slots);
            }
        }
        for name in queues_of(&self.engine.pool) {
            queues.entry(name).or_default();
        }
        for (name, shares) in store.shares().await? {
            if let Ok(name) = name.parse() {
                queues.entry(name).or_default().shares = shares;
            }
        }
        for (name, tenants) in store.queues_waiting().await? {
            let Ok(queue) = name.parse::<TaskQueue>() else { continue };
            let queue = queues.entry(queue).or_default();
            for tenant in self.first(&queue.shares, tenants, queue.slots) {
                let tasks = store.ready_tasks(&name, tenant, now, self.looked_at(queue)).await?;
                if !tasks.is_empty() {
                    queue.waiting.entry(tenant).or_default().tasks = tasks.into();
                }
            }
        }
        for (pool, tenants) in store.pools_waiting().await? {
            let name = TaskQueue { pool: self.engine.pool_named(&pool).to_owned(), depth: 0 };
            let queue = queues.entry(name).or_default();
            let limit = self.looked_at(queue);
            for tenant in self.first(&queue.shares, tenants, queue.slots) {
                let runs = store.queued_runs(&pool, tenant, settings, &[], limit).await?;
                queue.waiting.entry(tenant).or_default().runs.extend(runs);
            }
        }
        Ok(queues)
    }

    /// Of many tenants, those whose turn it is: no more than could get a slot, and some for those
    /// who may not have one.
    fn first(&self, shares: &Shares, mut tenants: Vec<TenantId>, slots: u32) -> Vec<TenantId> {
        tenants.sort_by_key(|tenant| (shares.of(*tenant), *tenant));
        let most = self.policy.capacity(slots).saturating_mul(2).max(LOOKED_AT_MAX);
        tenants.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        tenants
    }

    fn looked_at(&self, queue: &Queue) -> u64 {
        u64::from(self.policy.capacity(queue.slots).min(LOOKED_AT_MAX))
    }

    /// What is held of the queues, and which runs are open. Read after what waits.
    async fn fill_in(&self, queues: &mut Queues) -> Result<OpenRuns, Error> {
        let store = self.engine.store.engine();
        let mut limited = BTreeSet::new();
        for queue in queues.values() {
            for (tenant, backlog) in &queue.waiting {
                if backlog.runs.iter().any(|run| !run.limits.is_empty()) {
                    limited.insert(*tenant);
                }
            }
        }
        let limited: Vec<TenantId> = limited.into_iter().collect();
        let mut open = OpenRuns::default();
        for group in store.open_runs(&limited).await? {
            for key in group.keys {
                open.note(group.tenant, key, group.runs);
            }
        }
        for (name, tenant, held) in store.held_slots().await? {
            if let Ok(name) = name.parse() {
                queues.entry(name).or_default().held.insert(tenant, held);
            }
        }
        Ok(open)
    }

    /// Where the first runs of a tenant are all held back by limits, looks for others behind them.
    async fn look_further(
        &self,
        queues: &mut Queues,
        open: &OpenRuns,
        settings: &AdmissionSettings,
    ) -> Result<(), Error> {
        for (name, queue) in queues {
            let limit = self.looked_at(queue);
            for (tenant, backlog) in &mut queue.waiting {
                let mut reached: Vec<LimitKey> = Vec::new();
                for _ in 0..FURTHER_MAX {
                    let Some(more) = held_back(*tenant, backlog, open, limit) else { break };
                    reached.extend(more);
                    let pool = self.engine.pool_stored(&name.pool);
                    let store = self.engine.store.engine();
                    let runs = store.queued_runs(pool, *tenant, settings, &reached, limit).await?;
                    backlog.runs = runs.into();
                }
            }
        }
        Ok(())
    }

    /// Starts and offers what was admitted. What fails here waits for the next round.
    async fn carry_out(&self, admitted: Vec<Admitted>) {
        let mut offers: BTreeMap<RunId, Vec<u32>> = BTreeMap::new();
        let mut runs = Vec::new();
        for unit in admitted {
            match unit {
                Admitted::Task(task) => offers.entry(task.run).or_default().push(task.task),
                Admitted::Run(run) => runs.push(run),
            }
        }
        let engine = &self.engine;
        let offer = |(run, tasks): (RunId, Vec<u32>)| async move {
            let offer = Command::Offer { tasks };
            quietly(run, engine.transition_with(run, &offer, Grant::Tasks(0)).await);
        };
        let start = |run: RunId| async move {
            quietly(run, engine.transition_with(run, &Start::Admitted, Grant::Tasks(1)).await);
        };
        futures::stream::iter(offers).for_each_concurrent(AT_ONCE, offer).await;
        futures::stream::iter(runs).for_each_concurrent(AT_ONCE, start).await;
    }

    /// What may be offered without a round until the next one.
    fn leave(&self, queues: &Queues) {
        let waited_for = |queue: &Queue| queue.is_waited_for();
        let headroom =
            queues.iter().filter(|(_, queue)| !waited_for(queue)).map(|(name, queue)| {
                let free = queue.free(&self.policy);
                (name.clone(), usize::try_from(free).unwrap_or(usize::MAX))
            });
        let headroom: HashMap<_, _> = headroom.collect();
        self.engine.admission.leave(headroom, queues.values().any(waited_for));
    }
}

/// The slots of a pool for tasks of this depth: workers have as many again for the runs that
/// components start, and one for each further depth.
fn slots(size: PoolSize, depth: u32) -> u32 {
    if depth <= 1 { size.slots } else { size.workers }
}

/// The limits that hold back everything that was found of a tenant, if there may be more.
fn held_back(
    tenant: TenantId,
    backlog: &Backlog,
    open: &OpenRuns,
    limit: u64,
) -> Option<Vec<LimitKey>> {
    let is_cut = u64::try_from(backlog.runs.len()).is_ok_and(|found| found >= limit);
    let reached =
        |run: &QueuedRun| open.allows(tenant, &run.limits).err().map(|limit| limit.key.clone());
    let keys: Vec<Option<LimitKey>> = backlog.runs.iter().map(reached).collect();
    if !is_cut || keys.iter().any(Option::is_none) {
        return None;
    }
    let keys: BTreeSet<LimitKey> = keys.into_iter().flatten().collect();
    Some(keys.into_iter().collect())
}
