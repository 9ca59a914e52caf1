//! Containers made ahead. Taking one that waits costs nothing and waits for nobody; a keeper
//! refills in the background, and a container that was taken is destroyed after its one task.

pub mod demand;
mod report;
pub mod sizing;
mod stock;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::sandbox::{Sandbox, Slot, SlotSpec};
use report::{Counters, add};
pub use report::{Error, Figures, ShelfHealth};
use sizing::House;
use stock::{STIRRED, Shelf, Stock};

/// The keeper looks after the pool at least this often; usually it is woken.
const TICK: Duration = Duration::from_secs(1);

/// How large the pool is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Containers that wait whatever comes, per spec: at least, and at most.
    pub targets: BTreeMap<SlotSpec, (u32, u32)>,
    /// Containers that wait for tasks of other specs, as long as such tasks come.
    pub passing_max: u32,
    /// Containers that may exist at once.
    pub containers_max: u32,
    /// Containers that may be starting at once.
    pub refill_concurrency: u32,
    /// A container that waited this long is replaced.
    pub idle_max: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let spec = |image: &str| SlotSpec {
            image: image.to_owned(),
            tmpfs_bytes: config.limits.tmpfs_bytes,
        };
        Self {
            targets: config
                .pool
                .images
                .iter()
                .map(|i| (spec(&i.image), (i.size, i.most())))
                .collect(),
            passing_max: config.pool.passing_max,
            containers_max: config.containers_max(),
            refill_concurrency: config.pool.refill(),
            idle_max: Duration::from_secs(config.pool.idle_s_max),
        }
    }
}

/// The pool. Clones share it.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    sandbox: Arc<dyn Sandbox>,
    settings: Settings,
    stock: Mutex<Stock>,
    counters: Counters,
    wake: Notify,
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A container that was taken; destroyed when dropped, whatever happened.
#[derive(Debug)]
pub struct Lent {
    slot: Option<Slot>,
    inner: Arc<Inner>,
}

impl Pool {
    /// Starts filling. Must be called within a Tokio runtime.
    #[must_use]
    pub fn open(sandbox: Arc<dyn Sandbox>, settings: Settings) -> Self {
        let stock = Stock::new(&settings.targets, settings.passing_max);
        let inner = Arc::new(Inner {
            sandbox,
            settings,
            stock: Mutex::new(stock),
            counters: Counters::default(),
            wake: Notify::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        inner.tasks.spawn(keep(inner.clone()));
        Self { inner }
    }

    /// A container of this spec: at once when one waits, otherwise when one is ready.
    ///
    /// # Errors
    /// Why none could be had within `wait_max`.
    pub async fn take(&self, spec: &SlotSpec, wait_max: Duration) -> Result<Lent, Error> {
        let arrival = {
            let mut stock = self.inner.stock();
            if self.inner.closed.is_cancelled() {
                return Err(Error::Closed);
            }
            let shelf = stock.shelf(spec);
            shelf.demand.arrived(Instant::now());
            let (ready, dead) = shelf.pop();
            let arrival = if ready.is_none() { Some(shelf.queue()) } else { None };
            drop(stock);
            self.inner.bury(dead);
            self.inner.wake.notify_one();
            if let Some(slot) = ready {
                add(&self.inner.counters.taken_ready, 1);
                return Ok(self.inner.clone().lend(slot));
            }
            arrival
        };
        match arrival {
            Some(arrival) => self.wait(spec, arrival, wait_max).await,
            None => Err(Error::Closed),
        }
    }

    async fn wait(
        &self,
        spec: &SlotSpec,
        arrival: oneshot::Receiver<stock::Arrival>,
        wait_max: Duration,
    ) -> Result<Lent, Error> {
        match timeout(wait_max, arrival).await {
            Ok(Ok(Ok(lent))) => {
                add(&self.inner.counters.taken_after_wait, 1);
                Ok(lent)
            }
            Ok(Ok(Err(error))) => Err(Error::Prepare(error)),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                let failure = self.inner.stock().shelf(spec).failure();
                let reason = failure.map(|text| format!(": {text}")).unwrap_or_default();
                let after_ms = u64::try_from(wait_max.as_millis()).unwrap_or(u64::MAX);
                Err(Error::TimedOut { after_ms, reason })
            }
        }
    }

    /// How many containers wait for listed images, or are about to.
    #[must_use]
    pub fn supply(&self) -> u32 {
        let stock = self.inner.stock();
        let kept = stock.shelves.values().filter(|shelf| shelf.is_kept());
        kept.map(|shelf| shelf.counts(Instant::now())).fold(0, |sum: u32, shelf| {
            sum.saturating_add((shelf.ready + shelf.warming).saturating_sub(shelf.waiting))
        })
    }

    /// Whether there are images to keep ready and none of them can be started.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let stock = self.inner.stock();
        let mut kept = stock.shelves.values().filter(|shelf| shelf.is_kept()).peekable();
        kept.peek().is_some() && kept.all(Shelf::is_failing)
    }

    /// How every spec is doing.
    #[must_use]
    pub fn health(&self) -> Vec<ShelfHealth> {
        let now = Instant::now();
        let stock = self.inner.stock();
        let of = |(spec, shelf): (&SlotSpec, &Shelf)| {
            let counts = shelf.counts(now);
            ShelfHealth {
                image: spec.image.clone(),
                target: counts.target,
                ready: counts.ready,
                warming: counts.warming,
                waiting: counts.waiting,
                failure: shelf.failure(),
            }
        };
        stock.shelves.iter().map(of).collect()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let now = Instant::now();
        let stock = self.inner.stock();
        let mut figures = self.inner.counters.figures();
        figures.containers = u64::from(stock.containers);
        for shelf in stock.shelves.values().map(|shelf| shelf.counts(now)) {
            figures.ready += u64::from(shelf.ready);
            figures.warming += u64::from(shelf.warming);
            figures.waiting += u64::from(shelf.waiting);
        }
        figures
    }

    /// Ends the keeper, destroys what waits, and returns when every container is gone.
    pub async fn close(&self) {
        self.inner.closed.cancel();
        self.inner.sandbox.stop_preparing();
        let waiting = self.inner.stock().clear();
        self.inner.bury(waiting);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(self: Arc<Self>, slot: Slot) -> Lent {
        Lent { slot: Some(slot), inner: self }
    }

    /// Destroys slots in the background; each counts as a container until it is gone.
    fn bury(self: &Arc<Self>, slots: Vec<Slot>) {
        for slot in slots {
            let inner = self.clone();
            self.tasks.spawn(async move {
                inner.sandbox.destroy(slot).await;
                add(&inner.counters.destroyed, 1);
                inner.stock().leave();
                inner.wake.notify_one();
            });
        }
    }

    /// One round of the keeper: throws out what is dead or stale, starts what is missing. Returns
    /// when to look again at the latest.
    fn tend(self: &Arc<Self>) -> Duration {
        let now = Instant::now();
        let mut stock = self.stock();
        let (expired, died) = stock.sweep(now, self.settings.idle_max);
        add(&self.counters.expired, expired.len());
        add(&self.counters.died, died.len());
        let house = House {
            containers: stock.containers,
            containers_max: self.settings.containers_max,
            warming_max: self.settings.refill_concurrency,
            passing_max: self.settings.passing_max,
        };
        let (starts, evicted) = stock.decide(now, house);
        let next = if stock.is_patient(now) { STIRRED } else { TICK };
        drop(stock);
        self.bury(expired);
        self.bury(died);
        self.bury(evicted);
        for spec in starts {
            self.tasks.spawn(self.clone().prepare(spec));
        }
        next
    }

    async fn prepare(self: Arc<Self>, spec: SlotSpec) {
        let started = Instant::now();
        let made = self.sandbox.prepare(&spec).await;
        let took = started.elapsed();
        match made {
            Ok(slot) => {
                add(&self.counters.prepared, 1);
                add(&self.counters.prepare_ms, usize::try_from(took.as_millis()).unwrap_or(0));
                let lent = self.clone().lend(slot);
                if !self.closed.is_cancelled() {
                    let mut stock = self.stock();
                    let shelf = stock.shelf(&spec);
                    shelf.demand.made(took);
                    shelf.arrive(lent);
                }
            }
            Err(error) => {
                add(&self.counters.prepare_failed, 1);
                if !self.closed.is_cancelled() {
                    tracing::warn!(image = %spec.image, %error, "a container could not be made");
                }
                let mut stock = self.stock();
                stock.shelf(&spec).fail(error, Instant::now());
                stock.leave();
            }
        }
        self.wake.notify_one();
    }
}

async fn keep(inner: Arc<Inner>) {
    loop {
        let next = inner.tend();
        tokio::select! {
            () = inner.closed.cancelled() => return,
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

impl Lent {
    /// Nobody wanted it after all.
    fn give_back(mut self) -> Option<Slot> {
        self.slot.take()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.inner.bury(vec![slot]);
        }
    }
}

impl Deref for Lent {
    type Target = Slot;
    fn deref(&self) -> &Slot {
        self.slot.as_ref().expect("the slot is taken out only by drop")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Slot {
        self.slot.as_mut().expect("the slot is taken out only by drop")
    }
}
