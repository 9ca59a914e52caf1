//! Every limit in one place, with the reason for its value. Units come last in the names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest request body of a flow import. The largest starter flow is about 1 MB; a grouped
/// production flow with embedded code reaches several.
pub const FLOW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Largest body of any other request: a run's input, tweaks, a variable.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest frame between worker and runner, and so the largest single result of a cell.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Values up to this size are stored in the row that refers to them; larger ones become payloads.
/// A few Postgres pages: small enough that a task row stays cheap to load on every transition.
pub const INLINE_BYTES_MAX: usize = 32 * 1024;

/// Most nodes of one flow after its groups are flattened.
pub const FLOW_NODES_MAX: usize = 2_000;

/// Most edges of one flow.
pub const FLOW_EDGES_MAX: usize = 10_000;

/// Deepest nesting of groups.
pub const GROUP_DEPTH_MAX: usize = 32;

/// A lease without a heartbeat for this long is over: five missed beats, so that a worker that
/// stalls on I/O for a moment keeps its cells.
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a worker tells that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// After this long an unclaimed task is offered again: its message may be lost.
pub const REDISPATCH: Duration = Duration::from_secs(15);

/// What one cell may use. Stored with a run so that a later change of defaults does not alter it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellLimits {
    /// Memory of the whole container, in bytes. lfx alone needs about 200 MB.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Thousandths of a processor.
    pub cpu_millis: u32,
    /// Wall-clock time of one attempt, in milliseconds.
    pub wall_ms: u64,
    /// Bytes of results and events that one attempt may send.
    pub output_bytes_max: u64,
    /// Frames that one attempt may send.
    pub frames_max: u64,
    /// Bytes of standard output and error that are kept.
    pub log_bytes_max: u64,
    /// Size of the only writable place, `/tmp`, in bytes.
    pub tmpfs_bytes: u64,
}

impl Default for CellLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 1024 * 1024 * 1024,
            pids: 128,
            cpu_millis: 2_000,
            wall_ms: 10 * 60 * 1_000,
            output_bytes_max: 64 * 1024 * 1024,
            frames_max: 200_000,
            log_bytes_max: 1024 * 1024,
            tmpfs_bytes: 256 * 1024 * 1024,
        }
    }
}
