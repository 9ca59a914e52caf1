//! What a cell runs in, whatever makes it: prepare a slot ahead, run one task in it, destroy it.

pub(crate) mod cgroup;
mod connection;
pub mod containers;
mod slot;

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use domain::limits::CellLimits;
use proto::frame::Task;

pub use connection::{FrameReader, FrameWriter, Received};
pub use slot::{Slot, SlotId, SlotSpec};

use egress::{Ledger, Policy};

/// A way to run cells. One slot runs one task and is never used again.
#[async_trait]
pub trait Sandbox: Debug + Send + Sync + 'static {
    /// Makes a slot whose runner has imported everything and waits.
    async fn prepare(&self, spec: &SlotSpec) -> Result<Slot, Error>;

    /// Gives the slot its limits and its one task.
    async fn run(&self, slot: &mut Slot, job: Job) -> Result<Running, Error>;

    /// What can be said about a slot whose runner is gone, or is about to be.
    async fn examine(&self, slot: &Slot) -> Evidence;

    /// Highest memory use so far, in bytes, where the host shows it.
    fn memory_peak_bytes(&self, slot: &Slot) -> Option<u64>;

    /// Ends everything in the slot and removes it. Returns when it is gone.
    async fn destroy(&self, slot: Slot);

    /// Gives up slots that are being made: nobody waits for them any more.
    fn stop_preparing(&self) {}

    /// Ends what slots are made from. Returns when it is gone.
    async fn close(&self) {}
}

/// What a slot is to do. Contains secrets.
pub struct Job {
    /// The task; `egress` is filled in by the sandbox.
    pub task: Task,
    /// Its limits, already lowered to what this worker gives.
    pub limits: CellLimits,
    /// The way out, when there is any rule.
    pub egress: Option<Policy>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("run", &self.task.run_id)
            .field("cell", &self.task.cell)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A slot that has its task.
#[derive(Debug)]
pub struct Running {
    /// What comes from the runner.
    pub frames: FrameReader,
    /// Answers to the runner.
    pub replies: FrameWriter,
    /// What the cell connected to.
    pub ledger: Option<Arc<Ledger>>,
}

/// What is known of a slot at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Exit code of its first process, when it has ended and the engine told.
    pub exit_code: Option<i64>,
    /// Whether it has ended and nobody is left who could say how: its engine or its zygote is gone.
    pub is_orphan: bool,
    /// Whether the kernel killed one of its processes for memory; `None` when unknown.
    pub out_of_memory: Option<bool>,
}

/// Why there is no slot, or why it could not run a task.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine does not have the image.
    #[error("image {image} is not on this worker's engine")]
    ImageMissing {
        /// The image.
        image: String,
    },
    /// The engine cannot be reached.
    #[error("the container engine cannot be reached: {reason}")]
    EngineUnreachable {
        /// What the client said.
        reason: String,
    },
    /// The engine refused or failed.
    #[error("{doing} failed: {reason}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What the engine said.
        reason: String,
    },
    /// A socket or its directory could not be made.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// There is no zygote to fork from, and there will be none on this host.
    #[error("no zygote: {reason}")]
    Zygote {
        /// Why.
        reason: String,
    },
    /// There is no launcher to make cells with.
    #[error("no launcher: {reason}")]
    Launcher {
        /// Why.
        reason: String,
    },
    /// The runner ended before it was ready.
    #[error("the runner ended with exit code {exit_code:?} before it was ready{stderr}")]
    Exited {
        /// Its exit code.
        exit_code: Option<i64>,
        /// The end of its standard error, as ` (…)`, or nothing.
        stderr: String,
    },
    /// The runner was not ready in time.
    #[error("the runner was not ready within {after_ms} ms (worker.pool.ready_ms_max){stderr}")]
    NotReady {
        /// The limit.
        after_ms: u64,
        /// The end of its standard error, as ` (…)`, or nothing.
        stderr: String,
    },
    /// The first frame was not `ready`.
    #[error("the runner did not report ready but {found}")]
    Handshake {
        /// What came instead.
        found: String,
    },
    /// The slot's limits could not be changed to the task's.
    #[error("the container could not be given {memory_bytes} bytes of memory: {reason}")]
    MemoryTooSmall {
        /// What was asked for.
        memory_bytes: u64,
        /// What the engine said.
        reason: String,
    },
    /// The task could not be sent.
    #[error("the task could not be sent to the runner: {0}")]
    Send(#[source] proto::frame::Error),
    /// The slot ended while it waited for a task.
    #[error("the container ended while it waited")]
    Died,
}
