//! The backends: a Docker container per cell, or a cell of our own making; made ahead, used once.
//!
//! ```text
//! warm    make directory ─ listen ─ create ─ attach (lifeline) ─ start ─ runner connects ─ `ready` ─▶ Slot
//! zygote  make directory ─ listen ─ create ─ start ─ first process shows itself ─ fork ─ `ready` ─▶ Slot
//! native  make directory ─ launch ─ first process shows itself ─ fork ─ `ready` ─▶ Slot
//! Slot ─ update limits? ─ egress.sock? ─ `task` ─▶ Running ─ … ─ destroy: killed, removed, directory
//! ```
//! In `warm` the runner is the container's first process and imports everything in it: four seconds
//! of processor time. In `zygote` the container starts hollow, with a small first process of ours,
//! and a child of an already imported process enters it (`zygotes`). In `native` the same
//! child enters a cell that the engine never hears of (`launchers`).
//!
//! The container is made with the pool's limits. A task that asks for other limits gets them by
//! `docker update` before its frame is sent; the common case costs nothing. Only the processor
//! weight always changes (low while starting), by a write to the control group where the host
//! shows it, or the zygote has passed on its file.

mod body;
mod builder;
mod engine;
mod helper;
mod hollow;
mod launchers;
mod made;
mod native;
mod warm;
mod zygotes;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use domain::id::WorkerEpoch;
use domain::limits::{CellLimits, FRAME_BYTES_MAX};
use proto::frame::ToRunner;
use tokio::time::timeout;

use super::cgroup::Cgroup;
use super::slot::{CELL_SOCKET, End, Lifeline, SlotDir, create_root};
use super::{Error, Evidence, Job, Running, Sandbox, Slot, SlotId, SlotSpec};
use crate::config::{Backend, Config, PoolConfig};

use body::CPU_SHARES_RUNNING;
pub(crate) use body::{LABEL_CLUSTER, LABEL_EPOCH, LABEL_SLOT, LABEL_WORKER};
pub(crate) use builder::{BuildJob, Built, unnamed};
use engine::StderrTail;
pub(crate) use engine::{Removal, connect, remove as remove_container};
pub(crate) use launchers::Launched;
pub(crate) use zygotes::Child;
use zygotes::House;

/// The engine's answer to a removal is awaited this long; the sweeper tries again afterwards.
const REMOVE_MAX: Duration = Duration::from_secs(15);
/// After the runner's socket has closed, its exit code is awaited this long.
const EXIT_CODE_MAX: Duration = Duration::from_secs(3);
/// A runner that waits for its task reads it at once; one that does not is not a runner.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Log frames may be this large whatever the output limit is: 64 KiB of text, escaped.
const FRAME_BYTES_MIN: usize = 512 * 1024;

/// After its lifeline is cut, a container with a first process of ours is gone within this time.
const LIFELINE_MAX: Duration = Duration::from_secs(5);

/// The backends. Clones share one engine connection and one list of slots.
#[derive(Clone, Debug)]
pub struct Containers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    docker: Docker,
    owner: Owner,
    root: PathBuf,
    limits: CellLimits,
    pool: PoolConfig,
    oci_runtime: Option<String>,
    known: Slots,
    house: House,
}

/// Whose containers these are; becomes their labels.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) cluster: String,
    pub(crate) worker: String,
    pub(crate) epoch: WorkerEpoch,
}

impl Containers {
    /// Connects to the engine and makes the directory of the sockets.
    ///
    /// # Errors
    /// When either cannot be used.
    pub async fn open(config: &Config, epoch: WorkerEpoch) -> Result<Self, Error> {
        let docker = engine::connect(&config.docker_host).await?;
        let root = config.slot_root();
        create_root(&root)
            .map_err(|source| Error::Io { doing: "making worker.socket_dir", source })?;
        let owner = Owner { cluster: config.cluster.clone(), worker: config.name.clone(), epoch };
        Ok(Self {
            inner: Arc::new(Inner {
                docker,
                owner,
                root,
                limits: config.limits.clone(),
                pool: config.pool.clone(),
                oci_runtime: config.oci_runtime.clone(),
                known: Slots::default(),
                house: House::new(&config.sandbox, &config.pool),
            }),
        })
    }

    /// The engine.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.inner.docker
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.inner.owner
    }

    pub(crate) fn root(&self) -> &std::path::Path {
        &self.inner.root
    }

    /// Whether a slot of this name exists or is being made or destroyed.
    #[must_use]
    pub fn knows(&self, id: SlotId) -> bool {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

/// The slots that exist, or are being made or destroyed.
type Slots = Arc<Mutex<HashSet<SlotId>>>;

/// A slot's place in the list of known ones, from before it exists until after it is gone.
#[derive(Debug)]
struct Known {
    slots: Slots,
    id: SlotId,
}

impl Known {
    fn enter(inner: &Inner, id: SlotId) -> Self {
        inner.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Self { slots: inner.known.clone(), id }
    }

    /// The slot lives on; [`Inner::forget`] ends it.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[async_trait]
impl Sandbox for Containers {
    async fn prepare(&self, spec: &SlotSpec) -> Result<Slot, Error> {
        let id = SlotId::random();
        let known = Known::enter(&self.inner, id);
        let slot = match self.inner.house.backend(&spec.image) {
            Backend::Warm => Box::pin(self.inner.prepare_warm(id, spec)).await?,
            Backend::Zygote => Box::pin(self.inner.prepare_hollow(id, spec)).await?,
            Backend::Native => Box::pin(self.inner.prepare_native(id, spec)).await?,
            Backend::Auto => Box::pin(self.inner.prepare_either(id, spec)).await?,
        };
        known.keep();
        Ok(slot)
    }

    async fn run(&self, slot: &mut Slot, job: Job) -> Result<Running, Error> {
        Box::pin(self.inner.run(slot, job)).await
    }

    async fn examine(&self, slot: &Slot) -> Evidence {
        // First the kernel's files: the engine removes them as soon as it has noticed.
        let oom_kills = slot.cgroup.as_ref().and_then(Cgroup::oom_kills);
        let mut end = slot.end.clone();
        let ended = timeout(EXIT_CODE_MAX, end.wait_for(Option::is_some)).await;
        let ended = ended.ok().and_then(|end| end.ok().and_then(|end| *end));
        let exit_code = ended.and_then(|end| end.exit_code);
        let is_orphan = ended.is_some() && exit_code.is_none();
        let out_of_memory = match (oom_kills, exit_code) {
            (Some(kills), _) => Some(kills > 0),
            // Nobody else here sends SIGKILL to a container that was not told to end, and its
            // first process cannot do it to itself.
            (None, Some(137)) => Some(true),
            (None, Some(_)) => Some(false),
            (None, None) => None,
        };
        Evidence { exit_code, is_orphan, out_of_memory }
    }

    fn memory_peak_bytes(&self, slot: &Slot) -> Option<u64> {
        slot.cgroup.as_ref().and_then(Cgroup::memory_peak_bytes)
    }

    async fn destroy(&self, mut slot: Slot) {
        let (id, container) = (slot.id, slot.container.clone());
        // Closed first: an engine that still has output for us waits with the removal.
        let is_reliable = slot.lifeline.as_ref().is_some_and(Lifeline::is_reliable);
        drop(slot.lifeline.take());
        let mut gone = slot.gone.clone();
        // The engine removes it by itself then, which costs half of being told to.
        if !is_reliable || timeout(LIFELINE_MAX, gone.wait_for(Option::is_some)).await.is_err() {
            match &slot.cell {
                Some(cell) => cell.kill().await,
                None => self.inner.remove(&container, gone).await,
            }
        }
        drop(slot);
        self.inner.forget(id);
    }

    fn stop_preparing(&self) {
        self.inner.house.closed.cancel();
    }

    async fn close(&self) {
        self.inner.house.close().await;
    }
}

impl Inner {
    fn forget(&self, id: SlotId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// A zygote where the host allows it; what it does not allow is found out once per image.
    async fn prepare_either(self: &Arc<Self>, id: SlotId, spec: &SlotSpec) -> Result<Slot, Error> {
        match self.prepare_hollow(id, spec).await {
            Err(Error::Zygote { reason }) => {
                self.house.give_up(&spec.image, &reason);
                self.prepare_warm(id, spec).await
            }
            other => other,
        }
    }

    /// A cell whose runner is the container's first process.
    async fn prepare_warm(&self, id: SlotId, spec: &SlotSpec) -> Result<Slot, Error> {
        let make = |dir: &SlotDir| body::warm(self, id, spec, dir);
        let mut made = self.make(id, &format!("flowcell-{id}"), CELL_SOCKET, make).await?;
        match self.unless_closed(Box::pin(self.boot(&mut made))).await {
            Ok(booted) => Ok(made.into_slot(spec, booted)),
            Err(error) => Err(self.discard(made, error).await),
        }
    }

    /// A cell that a child of a zygote enters.
    async fn prepare_hollow(self: &Arc<Self>, id: SlotId, spec: &SlotSpec) -> Result<Slot, Error> {
        // First, because without it there is no use for a container.
        let zygote = self.house.zygote(self, &spec.image).await?;
        let make = |dir: &SlotDir| body::hollow(self, id, spec, &zygote.image, dir);
        let made = self.make(id, &format!("flowcell-{id}"), CELL_SOCKET, make).await;
        let mut made = made.inspect_err(|error| zygote.failed(error))?;
        let after_ms = self.pool.ready_ms_max;
        let inhabited = timeout(self.pool.ready_max(), self.inhabit(&mut made, &zygote));
        let inhabited = self.unless_closed(async {
            inhabited.await.unwrap_or(Err(Error::NotReady { after_ms, stderr: String::new() }))
        });
        match inhabited.await {
            Ok(booted) => Ok(made.into_slot(spec, booted)),
            Err(error) => Err(self.discard(made, error).await),
        }
    }

    /// A worker that ends does not wait until its last containers are ready.
    async fn unless_closed<T>(
        &self,
        preparing: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            prepared = preparing => prepared,
            () = self.house.closed.cancelled() => Err(Error::Died),
        }
    }

    async fn run(&self, slot: &mut Slot, job: Job) -> Result<Running, Error> {
        let Job { mut task, limits, egress } = job;
        let mut connection =
            slot.connection.take().filter(|_| slot.is_alive()).ok_or(Error::Died)?;
        self.fit(slot, &limits).await?;
        let mut ledger = None;
        if let Some(policy) = egress.filter(|policy| !policy.rules.is_empty()) {
            let (proxy, body) = slot
                .dir
                .open_egress(policy)
                .map_err(|source| Error::Io { doing: "making the egress socket", source })?;
            ledger = Some(proxy.ledger());
            slot.proxy = Some(proxy);
            task.egress = Some(body);
        } else {
            task.egress = None;
        }
        timeout(SEND_MAX, connection.send(ToRunner::Task(Box::new(task))))
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
            .map_err(Error::Send)?;
        let output_max = usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX);
        let frame_max = output_max.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
        let (frames, replies) = connection.split(frame_max);
        Ok(Running { frames, replies, ledger })
    }

    /// Gives the container the task's limits where they are not the pool's, and its full weight.
    async fn fit(&self, slot: &Slot, limits: &CellLimits) -> Result<(), Error> {
        let weight_set =
            slot.cgroup.as_ref().is_some_and(|cgroup| cgroup.set_cpu_shares(CPU_SHARES_RUNNING));
        match (body::update(&self.limits, limits, weight_set), &slot.cell) {
            (Some(_), Some(cell)) => cell.fit(limits).await,
            (Some(update), None) => self.update(&slot.container, update, limits).await,
            (None, _) => Ok(()),
        }
    }
}

/// Adds what the runner wrote to its standard error, for the operator.
async fn explain(error: Error, stderr: StderrTail) -> Error {
    let tail = stderr.finish().await;
    let said = if tail.is_empty() { String::new() } else { format!(" ({tail})") };
    match error {
        Error::Exited { exit_code, .. } => Error::Exited { exit_code, stderr: said },
        Error::NotReady { after_ms, .. } => Error::NotReady { after_ms, stderr: said },
        other => other,
    }
}
