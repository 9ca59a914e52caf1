//! Everything that can go wrong on a bus.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What a foreign library said.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why something could not be moved. Subjects are named, bodies never.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue holds as many messages as it may: slow down and try later.
    #[error("queue {subject} is full")]
    QueueFull {
        /// The queue's subject.
        subject: String,
    },
    /// The event logs hold as many bytes as they may.
    #[error("the event logs are full, appending to {subject}")]
    LogFull {
        /// The log's subject.
        subject: String,
    },
    /// Nobody serves this service right now.
    #[error("nobody serves {subject}")]
    NoServer {
        /// The service's subject.
        subject: String,
    },
    /// No answer in time. Whether the other side acted is unknown.
    #[error("no answer on {subject} within {after:?}")]
    TimedOut {
        /// What was waited for.
        subject: String,
        /// How long.
        after: Duration,
    },
    /// The server took the request and gave it up without an answer.
    #[error("the server on {subject} gave the request up")]
    Dropped {
        /// The service's subject.
        subject: String,
    },
    /// A body or an id is larger than the bus carries.
    #[error("{bytes} bytes for {subject}, at most {bytes_max} are possible")]
    TooLarge {
        /// Where it was going.
        subject: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// What arrived is not what was sent.
    #[error("damaged on {subject}: {reason}")]
    Damaged {
        /// Where it came from.
        subject: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// A name would be unsafe or ambiguous in a subject.
    #[error("{name:?} cannot be a {what}: {rule}")]
    Name {
        /// What it should have named.
        what: &'static str,
        /// The name.
        name: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A value could not be written as JSON.
    #[error("encoding a message for {subject}")]
    Encode {
        /// Where it was going.
        subject: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A body is not the message it should be.
    #[error("decoding a message from {subject}")]
    Decode {
        /// Where it came from.
        subject: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of an event log failed.
    #[error("{doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another bus has this folder open.
    #[error("another process uses the event logs in {path}")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The NATS server could not be used.
    #[error("{doing} {subject}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// With what.
        subject: String,
        /// What the client said.
        source: Cause,
    },
    /// The server keeps a stream or consumer differently from what was asked: it is too old, or
    /// somebody changed it.
    #[error("{asset} has {field} = {actual}, needed is {needed}")]
    Unsuitable {
        /// The stream or consumer.
        asset: String,
        /// The setting.
        field: &'static str,
        /// What the server keeps.
        actual: String,
        /// What is needed.
        needed: String,
    },
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
}

impl Error {
    pub(crate) fn server(
        doing: &'static str,
        subject: impl Into<String>,
        source: impl Into<Cause>,
    ) -> Self {
        Self::Server { doing, subject: subject.into(), source: source.into() }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::QueueFull { .. }
            | Self::LogFull { .. }
            | Self::NoServer { .. }
            | Self::TimedOut { .. }
            | Self::Dropped { .. }
            | Self::Damaged { .. }
            | Self::File { .. }
            | Self::Server { .. } => true,
            Self::TooLarge { .. }
            | Self::Name { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::InUse { .. }
            | Self::Unsuitable { .. }
            | Self::Closed => false,
        }
    }
}
