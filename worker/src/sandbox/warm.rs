//! The `warm` backend: a Docker container per cell, made ahead, its runner imported and blocked.
//!
//! ```text
//! make directory ─ listen ─ create ─ attach (lifeline) ─ start ─ accept one ─ `ready` ─▶ Slot
//! Slot ─ update limits? ─ egress.sock? ─ `task` ─▶ Running ─ … ─ destroy: kill, removed, directory
//! ```
//! The container is made with the pool's limits. A task that asks for other limits gets them by
//! `docker update` before its frame is sent; the common case costs nothing. Only the processor
//! weight always changes (low while importing), by a write to the control group where the host
//! shows it.

mod body;
mod engine;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::Docker;
use domain::id::WorkerEpoch;
use domain::limits::{CellLimits, FRAME_BYTES_MAX};
use proto::frame::{FromRunner, Ready, ToRunner};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::cgroup::Cgroup;
use super::connection::Connection;
use super::slot::{CELL_SOCKET, End, Lifeline, SlotDir, create_root};
use super::{Error, Evidence, Job, Running, Sandbox, Slot, SlotId, SlotSpec};
use crate::config::{Config, PoolConfig};
use crate::sandbox::warm::engine::StderrTail;

use body::CPU_SHARES_RUNNING;
pub(crate) use body::{LABEL_CLUSTER, LABEL_EPOCH, LABEL_SLOT, LABEL_WORKER};
pub(crate) use engine::{connect, remove as remove_container};

/// The engine's answer to a removal is awaited this long; the sweeper tries again afterwards.
const REMOVE_MAX: Duration = Duration::from_secs(15);
/// After the runner's socket has closed, its exit code is awaited this long.
const EXIT_CODE_MAX: Duration = Duration::from_secs(3);
/// A runner that waits for its task reads it at once; one that does not is not a runner.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Log frames may be this large whatever the output limit is: 64 KiB of text, escaped.
const FRAME_BYTES_MIN: usize = 512 * 1024;

/// The backend. Clones share one engine connection and one list of slots.
#[derive(Clone, Debug)]
pub struct Warm {
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
    known: Mutex<HashSet<SlotId>>,
}

/// Whose containers these are; becomes their labels.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) cluster: String,
    pub(crate) worker: String,
    pub(crate) epoch: WorkerEpoch,
}

impl Warm {
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
                known: Mutex::default(),
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

/// A slot's place in the list of known ones, from before it exists until after it is gone.
struct Known {
    inner: Arc<Inner>,
    id: SlotId,
}

impl Known {
    fn enter(inner: &Arc<Inner>, id: SlotId) -> Self {
        inner.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Self { inner: inner.clone(), id }
    }

    /// The slot lives on; [`Inner::forget`] ends it.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.inner.forget(self.id);
    }
}

#[async_trait]
impl Sandbox for Warm {
    async fn prepare(&self, spec: &SlotSpec) -> Result<Slot, Error> {
        let id = SlotId::random();
        let known = Known::enter(&self.inner, id);
        let slot = Box::pin(self.inner.prepare(id, spec)).await?;
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
        let exit_code = match ended {
            Ok(Ok(end)) => end.and_then(|end| end.exit_code),
            _ => None,
        };
        let out_of_memory = match (oom_kills, exit_code) {
            (Some(kills), _) => Some(kills > 0),
            // Nobody else here sends SIGKILL to a container that was not told to end, and its
            // first process cannot do it to itself.
            (None, Some(137)) => Some(true),
            (None, Some(_)) => Some(false),
            (None, None) => None,
        };
        Evidence { exit_code, out_of_memory }
    }

    fn memory_peak_bytes(&self, slot: &Slot) -> Option<u64> {
        slot.cgroup.as_ref().and_then(Cgroup::memory_peak_bytes)
    }

    async fn destroy(&self, mut slot: Slot) {
        let (id, container) = (slot.id, slot.container.clone());
        // Closed first: an engine that still has output for us waits with the removal.
        drop(slot.lifeline.take());
        self.inner.remove(&container, slot.end.clone()).await;
        drop(slot);
        self.inner.forget(id);
    }
}

impl Inner {
    fn forget(&self, id: SlotId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn prepare(&self, id: SlotId, spec: &SlotSpec) -> Result<Slot, Error> {
        let socket = |source| Error::Io { doing: "making the slot's socket", source };
        let dir = SlotDir::create(&self.root, id).map_err(socket)?;
        let listener = dir.listen(CELL_SOCKET).map_err(socket)?;
        let body = body::container(self, id, spec, &dir);
        let container = self.create(&format!("flowcell-{id}"), body, &spec.image).await?;
        let (end_sender, end) = watch::channel(None);
        engine::watch_end(self.docker.clone(), container.clone(), end_sender);
        match self.boot(&container, &listener, &dir, end.clone()).await {
            Ok(booted) => Ok(Slot {
                id,
                spec: spec.clone(),
                container,
                ready: booted.ready,
                since: Instant::now(),
                dir,
                connection: Some(booted.connection),
                proxy: None,
                cgroup: booted.cgroup,
                end,
                lifeline: Some(booted.lifeline),
            }),
            Err(error) => {
                self.remove(&container, end).await;
                Err(error)
            }
        }
    }

    /// From a created container to a runner that is ready.
    async fn boot(
        &self,
        container: &str,
        listener: &UnixListener,
        dir: &SlotDir,
        mut end: watch::Receiver<Option<End>>,
    ) -> Result<Booted, Error> {
        let (lifeline, stderr) = self.attach(container).await?;
        self.start(container).await?;
        let cgroup = self.pid(container).await.and_then(Cgroup::of);
        let after_ms = self.pool.ready_ms_max;
        let ready = async {
            tokio::select! {
                biased;
                shaken = shake(listener, dir) => shaken,
                ended = end.wait_for(Option::is_some) => {
                    let exit_code = ended.ok().and_then(|end| end.and_then(|end| end.exit_code));
                    Err(Error::Exited { exit_code, stderr: String::new() })
                }
            }
        };
        let shaken = timeout(self.pool.ready_max(), ready)
            .await
            .unwrap_or(Err(Error::NotReady { after_ms, stderr: String::new() }));
        match shaken {
            Ok((ready, connection)) => Ok(Booted { ready, connection, cgroup, lifeline }),
            Err(error) => Err(explain(error, stderr).await),
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
        match body::update(&self.limits, limits, weight_set) {
            Some(update) => self.update(&slot.container, update, limits).await,
            None => Ok(()),
        }
    }
}

struct Booted {
    ready: Ready,
    connection: Connection,
    cgroup: Option<Cgroup>,
    lifeline: Lifeline,
}

/// Accepts the one connection and reads the one frame that makes a slot.
async fn shake(listener: &UnixListener, dir: &SlotDir) -> Result<(Ready, Connection), Error> {
    let io = |source| Error::Io { doing: "accepting the runner's connection", source };
    let (stream, _) = listener.accept().await.map_err(io)?;
    dir.unlink(CELL_SOCKET).map_err(io)?;
    let mut connection = Connection::new(stream);
    match connection.next().await {
        Some(Ok(received)) => match received.frame {
            FromRunner::Ready(ready) => Ok((ready, connection)),
            _ => Err(Error::Handshake { found: "another frame".into() }),
        },
        Some(Err(error)) => Err(Error::Handshake { found: error.to_string() }),
        // The container's end says more than the end of its connection.
        None => std::future::pending().await,
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
