//! What a cell connected to: the record that stays with the run.

use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The connections of one attempt, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLog {
    /// Grows with every version of the log; of two, the one with the larger number holds.
    pub revision: u64,
    /// The first of them, up to a bound.
    pub entries: Vec<Connection>,
    /// How many more there were.
    #[serde(default)]
    pub omitted: u64,
}

/// One connection that a cell asked for. Never a path, a header or a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// When it was asked for.
    pub at: Timestamp,
    /// The host it asked for; masked where it held a secret.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What became of it.
    pub state: ConnectionState,
    /// Why it was refused, failed or was cut.
    #[serde(default)]
    pub reason: Option<String>,
    /// Bytes from the cell.
    pub bytes_up: u64,
    /// Bytes to the cell.
    pub bytes_down: u64,
    /// From the question to the end, in milliseconds; nothing while it is open.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// It was made and had not ended when this was written.
    Open,
    /// It was made and ended.
    Closed,
    /// It was made and ended by a limit.
    Cut,
    /// The policy or a limit forbids it; nothing was sent.
    Refused,
    /// It is allowed and could not be made.
    Failed,
}

impl ConnectionState {
    /// Its name, as in its serialised form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cut => "cut",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}
