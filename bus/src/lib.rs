//! What moves: work queues, requests, orders and run event logs; in-process or NATS JetStream.
//!
//! The database is the truth. Whatever goes through here may be lost, repeated or reordered and
//! nothing breaks; the bus only makes it fast. [`Bus`] is the one interface, [`memory()`] and
//! [`nats()`] make one, and the same compliance suite runs on both.
//!
//! ```text
//! api ──enqueue(Runs)──▶ scheduler ──enqueue(Tasks)──▶ worker
//!                            ▲ ──tell(epoch)─────────────▶ │
//!                            └────────request(Scheduler)───┘
//! api ◀──read(run)── event log of the run ◀──append(run)── scheduler, worker
//! ```

mod bus;
mod entry;
mod error;
pub mod memory;
pub mod nats;
mod permissions;
pub mod subjects;
pub mod wire;

pub use bus::{Bus, Consumer, Delivery, EventReader, Orders, Queue, Request, Requests, Service};
pub use error::{Cause, Error};
pub use permissions::{Permissions, WorkerUser};

/// Largest body of a request and of a reply: one frame of a runner, which is the largest result
/// of a cell, plus room for the message around it.
pub const BODY_BYTES_MAX: usize = domain::limits::FRAME_BYTES_MAX + 1024 * 1024;

/// Largest entry of an event log. An `add_message` carries at most what a frame carries.
pub const ENTRY_BYTES_MAX: usize = domain::limits::FRAME_BYTES_MAX;

/// Largest body of a queued message: queues carry references, not data.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Longest id of a queued message or of a log entry, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Most bytes that [`Bus::snapshot`] returns: a longer log has to be read in pieces.
pub const SNAPSHOT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A bus inside this process, its event logs in files.
///
/// # Errors
/// When the folder cannot be used, or another bus uses it.
pub async fn memory(settings: memory::Settings) -> Result<Bus, Error> {
    memory::Memory::open(settings).await.map(Bus::from)
}

/// A bus on NATS JetStream. Returns once it is connected and its streams are as they should be.
///
/// # Errors
/// When no server answers within [`nats::Settings::connect_wait`], the credentials are refused,
/// or the server cannot hold a stream as it is needed.
pub async fn nats(settings: nats::Settings) -> Result<Bus, Error> {
    Box::pin(nats::Nats::connect(settings)).await.map(Bus::from)
}
