//! The worker as a whole: its parts, their start, and an end that loses nothing it can keep.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bus::wire::decode;
use bus::{Bus, Consumer, Queue};
use domain::id::WorkerEpoch;
use futures::future::join_all;
use nix::fcntl::{Flock, FlockArg};
use prometheus_client::registry::Registry;
use proto::message::{WorkerOrder, WorkerRequestBody};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::Workshop;
use crate::config::{self, Config};
use crate::dispatch::Dispatch;
use crate::heartbeat::Heartbeat;
use crate::held::Held;
use crate::metrics::{Metrics, PoolFigures};
use crate::pool::{Figures, Pool, Settings, ShelfHealth};
use crate::reaper::{self, Job, Reaper};
use crate::runtimes::{Runtimes, Tools};
use crate::sandbox::containers::Containers;
use crate::sandbox::{self, Sandbox};
use crate::sweeper::Sweeper;
use crate::upstream::Upstream;
use egress::{Closed, Resolve, SystemResolver};

/// How long schedulers may take to hear that the worker ends.
const GOODBYE_WAIT: Duration = Duration::from_secs(2);
/// After attempts were told to stop, their containers are gone well within this time.
const STOP_WAIT: Duration = Duration::from_secs(20);

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The engine or the socket directory cannot be used.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The bus cannot be used.
    #[error("joining the cluster: {0}")]
    Bus(#[from] bus::Error),
    /// Another process on this host is the same worker.
    #[error("another process on this host is worker {name:?}: give this one another worker.name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The heartbeat's thread or the lock file could not be made.
    #[error("starting the worker: {0}")]
    Io(#[from] std::io::Error),
}

/// A worker that is set up but does not take work yet.
#[derive(Debug)]
pub struct Worker {
    shop: Arc<Workshop>,
    sandbox: Containers,
    held: Held,
    bus: Bus,
    control: Arc<Control>,
    _reaper: Option<Reaper>,
    _name: Flock<File>,
}

#[derive(Debug)]
struct Control {
    epoch: WorkerEpoch,
    pool: Pool,
    sweeper: Sweeper,
    held: Held,
    metrics: Metrics,
    /// When attempts that are not finished are given up; set by a drain.
    deadline: watch::Sender<Option<Instant>>,
    ended: watch::Sender<bool>,
}

/// Talks to a running worker. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Handle {
    control: Arc<Control>,
}

/// How a worker is doing.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// Whether it takes work.
    pub taking_work: bool,
    /// Attempts it holds.
    pub attempts: usize,
    /// Its pool, per image.
    pub pool: Vec<ShelfHealth>,
}

impl Worker {
    /// Checks the settings, connects to the engine and begins to fill the pool.
    ///
    /// Should this process be killed, `reaper` removes what it leaves. Without one, containers end
    /// by their lifeline or with the next process of this name.
    ///
    /// # Errors
    /// What has to be changed first.
    pub async fn open(
        config: Config,
        bus: Bus,
        reaper: Option<reaper::Program>,
    ) -> Result<Self, Error> {
        Self::open_with(config, bus, reaper, Arc::new(SystemResolver)).await
    }

    /// The same, with another way to turn names into addresses.
    ///
    /// # Errors
    /// What has to be changed first.
    pub async fn open_with(
        config: Config,
        bus: Bus,
        reaper: Option<reaper::Program>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let epoch = WorkerEpoch(uuid::Uuid::new_v4());
        let sandbox = Containers::open(&config, epoch).await?;
        let name = lock(&config)?;
        // Before the first container.
        let reaper = start(reaper, Job::of(&config, epoch)).await;
        // What an earlier process of this name left would take memory from the pool.
        let sweeper = Sweeper::new(sandbox.clone());
        sweeper.sweep().await;
        let shared: Arc<dyn Sandbox> = Arc::new(sandbox.clone());
        let pool = Pool::open(shared.clone(), Settings::from(&config));
        let held = Held::new();
        let metrics = Metrics::default();
        let control = Control {
            epoch,
            pool: pool.clone(),
            sweeper,
            held: held.clone(),
            metrics: metrics.clone(),
            deadline: watch::Sender::new(None),
            ended: watch::Sender::new(false),
        };
        let closed = Closed::of(&config.egress, resolver.as_ref()).await;
        let (config, closed) = (Arc::new(config), Arc::new(closed));
        let upstream = Upstream::new(bus.clone(), epoch);
        let tools = Tools {
            config: config.clone(),
            sandbox: sandbox.clone(),
            upstream: upstream.clone(),
            resolver: resolver.clone(),
            closed: closed.clone(),
        };
        let runtimes = Arc::new(Runtimes::new(tools));
        let shop = Workshop {
            config,
            sandbox: shared,
            pool,
            upstream,
            resolver,
            closed,
            runtimes,
            metrics,
        };
        Ok(Self {
            shop: Arc::new(shop),
            sandbox,
            held,
            bus,
            control: Arc::new(control),
            _reaper: reaper,
            _name: name,
        })
    }

    /// A way to talk to it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { control: self.control.clone() }
    }

    /// Takes work until [`Handle::drain`] is called, then finishes what it holds and ends.
    ///
    /// # Errors
    /// When it cannot join the cluster.
    pub async fn run(self) -> Result<(), Error> {
        let result = Box::pin(self.serve()).await;
        self.shop.pool.close().await;
        self.sandbox.close().await;
        self.control.ended.send_replace(true);
        result
    }

    async fn serve(&self) -> Result<(), Error> {
        let lanes = self.lanes().await?;
        let _orders = self.follow_orders().await?;
        let sweeper = self.control.sweeper.clone();
        let _sweeping = AbortOnDropHandle::new(tokio::spawn(async move { sweeper.run().await }));
        let silence = CancellationToken::new();
        let _silence_at_the_end = silence.clone().drop_guard();
        Heartbeat::new(&self.shop, self.held.clone()).start(silence.clone())?;

        let drain = CancellationToken::new();
        let mut deadline = self.control.deadline.subscribe();
        let watching = async {
            // The sender lives as long as `self`.
            let _ = deadline.wait_for(Option::is_some).await;
            drain.cancel();
        };
        let (dispatches, consumers): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        let runs = dispatches.iter().zip(consumers).map(|(dispatch, c)| dispatch.run(c, &drain));
        tokio::join!(join_all(runs), watching);
        self.finish(&dispatches).await;
        silence.cancel();
        let goodbye = self.shop.upstream.ask(WorkerRequestBody::Goodbye, GOODBYE_WAIT);
        if let Err(error) = goodbye.await {
            tracing::info!(%error, "nobody heard the goodbye; leases will end by themselves");
        }
        Ok(())
    }

    /// One lane for each depth, with slots of its own: a cell that waits for a flow keeps its
    /// slot, and what it waits for runs one lane further down. The last lane waits for nobody.
    async fn lanes(&self) -> Result<Vec<(Dispatch, Consumer)>, Error> {
        let mut lanes = Vec::new();
        for (depth, slots) in (0..).zip(self.shop.config.slots_by_depth()) {
            let dispatch = Dispatch::new(self.shop.clone(), self.held.clone(), depth, slots);
            let queue = Queue::Tasks { pool: self.shop.config.queue.clone(), depth };
            lanes.push((dispatch, self.bus.consumer(&queue).await?));
        }
        Ok(lanes)
    }

    /// Waits for what is held until the deadline, then ends it.
    async fn finish(&self, dispatches: &[Dispatch]) {
        let deadline = *self.control.deadline.borrow();
        let deadline = deadline.unwrap_or_else(Instant::now);
        if timeout_at(deadline, join_all(dispatches.iter().map(Dispatch::finished))).await.is_ok() {
            return;
        }
        tracing::warn!(attempts = self.held.list().len(), "drain deadline: giving attempts up");
        self.held.stop_all();
        if timeout_at(Instant::now() + STOP_WAIT, self.held.empty()).await.is_err() {
            tracing::error!("attempts did not stop in time");
        }
    }

    async fn follow_orders(&self) -> Result<AbortOnDropHandle<()>, Error> {
        let mut orders = self.bus.listen(self.control.epoch).await?;
        let held = self.held.clone();
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(body) = orders.next().await {
                match decode::<WorkerOrder>("orders", &body) {
                    Ok(WorkerOrder::Stop { attempt }) => held.stop(attempt),
                    Err(error) => tracing::warn!(%error, "an order cannot be read"),
                }
            }
        })))
    }
}

impl Handle {
    /// The epoch of this process's worker.
    #[must_use]
    pub fn epoch(&self) -> WorkerEpoch {
        self.control.epoch
    }

    /// Takes no more work, lets attempts finish for at most `patience`, and waits for the end.
    /// Attempts that are not finished by then are ended; schedulers give them to others.
    pub async fn drain(&self, patience: Duration) {
        self.control.deadline.send_if_modified(|deadline| {
            let at = Instant::now() + patience;
            let sooner = deadline.is_none_or(|before| at < before);
            if sooner {
                *deadline = Some(at);
            }
            sooner
        });
        // The sender lives as long as `self`.
        let _ = self.control.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// How the worker is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let control = &self.control;
        let draining = control.deadline.borrow().is_some();
        Health {
            taking_work: !draining && !control.pool.is_broken(),
            attempts: control.held.list().len(),
            pool: control.pool.health(),
        }
    }

    /// Adds its figures to those of the process.
    pub fn expose(&self, registry: &mut Registry) {
        self.control.metrics.expose(registry);
        registry.register_collector(Box::new(PoolFigures(self.clone())));
    }

    /// The pool's figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.control.pool.figures()
    }

    /// Containers that were found without an owner and removed.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        self.control.sweeper.removed()
    }
}

/// A worker without a reaper is less safe, and still better than none.
async fn start(program: Option<reaper::Program>, job: Job) -> Option<Reaper> {
    match Reaper::start(program?, job).await {
        Ok(reaper) => Some(reaper),
        Err(error) => {
            tracing::warn!(%error, "no reaper: containers may outlive a killed worker");
            None
        }
    }
}

/// The name belongs to one process of this host: the sweeper removes what others of it made.
fn lock(config: &Config) -> Result<Flock<File>, Error> {
    let path = config.slot_root().join("lock");
    let file = File::create(path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| Error::NameTaken { name: config.name.clone() })
}
