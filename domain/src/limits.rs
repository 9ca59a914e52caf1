//! Every limit in one place, with the reason for its value. Units come last in the names.

mod layers;
mod setting;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

pub use layers::{Ceiling, Effective, Layers, Source, TenantLimits};
pub use setting::{Overrides, Setting};

/// How many runs may stand above one that a component started: a flow that runs a flow that runs a
/// flow. Tasks of each depth have slots and a queue of their own, so every worker has this many.
pub const FLOW_DEPTH_MAX: u32 = 8;

/// Largest request body of a flow import. The largest starter flow is about 1 MB; a grouped
/// production flow with embedded code reaches several.
pub const FLOW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Largest body of any other request: a run's input, tweaks, a variable.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest frame between worker and runner, and so the largest single result of a cell.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest question to a person. It is shown whole wherever its run is, and in the chat.
pub const QUESTION_BYTES_MAX: usize = 256 * 1024;

/// Values up to this size are stored in the row that refers to them; larger ones become payloads.
/// A few Postgres pages: small enough that a task row stays cheap to load on every transition.
pub const INLINE_BYTES_MAX: usize = 32 * 1024;

/// Most nodes of one flow after its groups are flattened.
pub const FLOW_NODES_MAX: usize = 2_000;

/// Most edges of one flow.
pub const FLOW_EDGES_MAX: usize = 10_000;

/// Deepest nesting of groups.
pub const GROUP_DEPTH_MAX: usize = 32;

/// A lease without a heartbeat for this long is over: four beats may be missed, so that a worker
/// that stalls for a few seconds keeps its cells; and what a dead one held is elsewhere within ten
/// seconds, which leaves two for the sweep, the backoff and the next claim.
pub const LEASE: Duration = Duration::from_secs(8);

/// How often a worker tells that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(1_500);

/// After this long an unclaimed task is offered again: its message may be lost.
pub const REDISPATCH: Duration = Duration::from_secs(15);

/// How much of uploaded files may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileLimits {
    /// Bytes of one file. Twice as much is held in memory while it is uploaded, and all of it in a
    /// cell's `/tmp` while a component reads it.
    pub file_bytes_max: u64,
    /// Bytes of all files of a tenant.
    pub tenant_bytes_max: u64,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { file_bytes_max: 64 * 1024 * 1024, tenant_bytes_max: 4 * 1024 * 1024 * 1024 }
    }
}

/// [`CellLimits::open_files`] unless something else is set.
const OPEN_FILES: u32 = 4_096;
/// [`CellLimits::cpu_ms`] unless something else is set.
const CPU_MS: u64 = 10 * 60 * 1_000;
/// [`CellLimits::tokens_max`] unless something else is set.
const TOKENS_MAX: u64 = 200_000;
/// [`CellLimits::log_lines_max`] unless something else is set.
const LOG_LINES_MAX: u64 = 10_000;

/// What one cell may use. Stored with a run so that a later change of defaults does not alter it.
///
/// Limits that came later are read from rows and messages that lack them, and are left out where
/// they have these first values: a process of before, which knows no further keys, then reads them.
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
    /// Files and sockets that one process may have open. lfx with its HTTP clients stays below a
    /// few hundred; a leak ends long before the host's table is full.
    #[serde(default = "open_files", skip_serializing_if = "is_open_files")]
    pub open_files: u32,
    /// Processor time of one attempt, all its processes together, in milliseconds. The wall clock
    /// alone lets a cell that is meant to wait for a model burn every processor it may use.
    #[serde(default = "cpu_ms", skip_serializing_if = "is_cpu_ms")]
    pub cpu_ms: u64,
    /// `token` events that one attempt may send. The longest answers of today's models have about
    /// 130,000 tokens; a model that repeats itself for ever ends here.
    #[serde(default = "tokens_max", skip_serializing_if = "is_tokens_max")]
    pub tokens_max: u64,
    /// Lines of standard output and error that are kept: each is an entry of the run's log.
    #[serde(default = "log_lines_max", skip_serializing_if = "is_log_lines_max")]
    pub log_lines_max: u64,
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
            open_files: OPEN_FILES,
            cpu_ms: CPU_MS,
            tokens_max: TOKENS_MAX,
            log_lines_max: LOG_LINES_MAX,
        }
    }
}

impl CellLimits {
    /// The most that any setting allows unless an operator says otherwise: what one large machine
    /// can give, for a day.
    #[must_use]
    pub fn most() -> Self {
        Self {
            memory_bytes: 16 * 1024 * 1024 * 1024,
            pids: 4_096,
            cpu_millis: 16_000,
            wall_ms: 24 * 60 * 60 * 1_000,
            output_bytes_max: 1024 * 1024 * 1024,
            frames_max: 10_000_000,
            log_bytes_max: 64 * 1024 * 1024,
            tmpfs_bytes: 4 * 1024 * 1024 * 1024,
            open_files: 65_536,
            // Every processor of `cpu_millis`, all day.
            cpu_ms: 16 * 24 * 60 * 60 * 1_000,
            tokens_max: 10_000_000,
            log_lines_max: 1_000_000,
        }
    }

    /// These limits, each lowered to the cap's.
    #[must_use]
    pub fn capped(&self, caps: &Self) -> Self {
        let mut capped = self.clone();
        for setting in Setting::ALL {
            setting.put(&mut capped, setting.of(self).min(setting.of(caps)));
        }
        capped
    }
}

/// Reads a part of the settings that may name only some limits; the others have their defaults.
///
/// # Errors
/// For a name that is no limit, or a value that is no whole number.
pub fn over_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CellLimits, D::Error> {
    Ok(Overrides::deserialize(deserializer)?.over(CellLimits::default()))
}

/// The same over [`CellLimits::most`].
///
/// # Errors
/// As [`over_default`].
pub fn over_most<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CellLimits, D::Error> {
    Ok(Overrides::deserialize(deserializer)?.over(CellLimits::most()))
}

fn open_files() -> u32 {
    OPEN_FILES
}

fn cpu_ms() -> u64 {
    CPU_MS
}

fn tokens_max() -> u64 {
    TOKENS_MAX
}

fn log_lines_max() -> u64 {
    LOG_LINES_MAX
}

fn is_open_files(value: &u32) -> bool {
    *value == OPEN_FILES
}

fn is_cpu_ms(value: &u64) -> bool {
    *value == CPU_MS
}

fn is_tokens_max(value: &u64) -> bool {
    *value == TOKENS_MAX
}

fn is_log_lines_max(value: &u64) -> bool {
    *value == LOG_LINES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version of this program wrote them.
    const FIRST: &str = r#"{"memory_bytes":1073741824,"pids":128,"cpu_millis":2000,"wall_ms":600000,"output_bytes_max":67108864,"frames_max":200000,"log_bytes_max":1048576,"tmpfs_bytes":268435456}"#;

    #[test]
    fn what_was_written_before_is_read_and_what_is_written_can_be_read_before() {
        let read: CellLimits = serde_json::from_str(FIRST).unwrap();
        assert_eq!(read, CellLimits::default());
        assert_eq!(serde_json::to_string(&read).unwrap(), FIRST);
        let other = CellLimits { cpu_ms: 7, log_lines_max: 8, ..CellLimits::default() };
        let text = serde_json::to_string(&other).unwrap();
        assert!(text.ends_with(r#","cpu_ms":7,"log_lines_max":8}"#), "{text}");
        assert_eq!(serde_json::from_str::<CellLimits>(&text).unwrap(), other);
        let unknown = FIRST.replace("pids", "pigs");
        assert!(serde_json::from_str::<CellLimits>(&unknown).is_err());
    }

    #[test]
    fn settings_may_name_only_some() {
        let read: CellLimits = over_default(serde_json::json!({"pids": 5})).unwrap();
        assert_eq!(read, CellLimits { pids: 5, ..CellLimits::default() });
        let read: CellLimits = over_most(serde_json::json!({"cpu_ms": 5})).unwrap();
        assert_eq!(read, CellLimits { cpu_ms: 5, ..CellLimits::most() });
        let error = over_most(serde_json::json!({"pigs": 5})).unwrap_err().to_string();
        assert!(error.contains("pigs") && error.contains("memory_bytes"), "{error}");
    }

    #[test]
    fn a_cap_lowers_and_never_raises() {
        let caps = CellLimits { pids: 5, wall_ms: u64::MAX, ..CellLimits::default() };
        let asked = CellLimits { pids: 9, tokens_max: 1, ..CellLimits::default() };
        let expected = CellLimits { pids: 5, tokens_max: 1, ..CellLimits::default() };
        assert_eq!(asked.capped(&caps), expected);
    }
}
