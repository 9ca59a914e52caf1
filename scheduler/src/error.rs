//! What can go wrong in a scheduler.

use domain::id::{RunId, VersionId};
use domain::run::Refused;

/// Why the scheduler could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] store::Error),
    /// The bus failed.
    #[error("bus: {0}")]
    Bus(#[from] bus::Error),
    /// There is no such run (any more).
    #[error("run {0} does not exist")]
    NoRun(RunId),
    /// The command changes nothing.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// Somebody else changed the run each time.
    #[error("run {0} is changed by others all the time")]
    Contended(RunId),
    /// A stored flow version cannot be read back.
    #[error("flow version {version} cannot be used: {why}")]
    Version {
        /// The version.
        version: VersionId,
        /// What is wrong with it.
        why: String,
    },
    /// The outbox names a queue that this version does not know.
    #[error("the outbox names the queue {0:?}, which this version does not know")]
    UnknownQueue(String),
    /// A message could not be written.
    #[error("a message could not be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

impl Error {
    /// Whether the same call may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Bus(_) | Self::Contended(_) => true,
            Self::NoRun(_)
            | Self::Refused(_)
            | Self::Version { .. }
            | Self::UnknownQueue(_)
            | Self::Encode(_) => false,
        }
    }
}
