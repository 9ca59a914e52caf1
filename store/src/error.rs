//! What can go wrong with the store, and how the database library's errors become that.

use domain::id::RunId;
use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such row, or it belongs to somebody else.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The request contradicts what is stored.
    #[error("{what}")]
    Conflict {
        /// The contradiction, for people.
        what: &'static str,
    },
    /// Somebody else changed the run first: load it again and decide again.
    #[error("the run was changed by another process")]
    VersionConflict,
    /// The value of this field is taken.
    #[error("the {field} is already in use")]
    Duplicate {
        /// The field.
        field: &'static str,
    },
    /// The value of this field cannot be stored.
    #[error("the {field} {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it, as the end of the sentence.
        why: &'static str,
    },
    /// Something would be larger than it may be.
    #[error("the {what} would be {bytes} bytes large; {bytes_max} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large it would be.
        bytes: u64,
        /// How large it may be.
        bytes_max: u64,
    },
    /// As many runs of the tenant wait as may.
    #[error("{queued_max} runs wait already, and no more may")]
    QueueFull {
        /// How many may.
        queued_max: u32,
    },
    /// More runs come than the tenant's rate limit allows.
    #[error("{per_minute} runs a minute are accepted")]
    TooFast {
        /// The limit.
        per_minute: u32,
        /// When one more is accepted.
        after: std::time::Duration,
    },
    /// A sealed value does not open: another key-encryption key, or bytes that were tampered with.
    #[error("the variable {name} cannot be decrypted with this key-encryption key")]
    Undecryptable {
        /// The variable's name.
        name: String,
    },
    /// The database was made with another key-encryption key.
    #[error("the key-encryption key does not belong to this database")]
    WrongKey,
    /// The database does not have the tables this program needs: migrate first.
    #[error("the database schema is not current")]
    SchemaNotCurrent,
    /// What is stored cannot be read back.
    #[error("stored {what} cannot be read")]
    Corrupt {
        /// What.
        what: &'static str,
    },
    /// The configuration cannot work.
    #[error("the settings of the store are unusable: {0}")]
    Settings(String),
    /// A file or folder of the store cannot be prepared or read.
    #[error("could not use {path}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The body of a payload in object storage is not there or not what was stored.
    #[error(
        "something that run {run} stored cannot be read: object {object} {fault}; restore the \
         object, or start the run again"
    )]
    PayloadUnreadable {
        /// The run that refers to it.
        run: RunId,
        /// The object's name below the prefix.
        object: String,
        /// What is wrong.
        fault: ObjectFault,
    },
    /// Object storage refused or could not be reached.
    #[error("object storage failed while {doing}")]
    Objects {
        /// What was being done.
        doing: &'static str,
        /// Its words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A background computation ended early; only at shutdown.
    #[error("{doing} was interrupted")]
    Interrupted {
        /// What was being done.
        doing: &'static str,
    },
    /// The database refused or could not be reached.
    #[error("database error while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The database's words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// There is no such object.
    #[error("is missing")]
    Missing,
    /// It does not open with the tenant's data key in this place.
    #[error("is damaged")]
    Damaged,
    /// This process has no object storage to look in.
    #[error("is in object storage, and payloads.store of this process names none")]
    NotConfigured,
}

impl Error {
    /// Whether the same call may succeed a moment later: the database could not be reached, was
    /// busy, or broke a deadlock. Where this is false, trying again gives the same error.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.downcast_ref().is_some_and(passes),
            Self::Interrupted { .. } | Self::Objects { .. } => true,
            _ => false,
        }
    }

    /// Whether the database did not grant a lock, and nothing else is wrong.
    pub(crate) fn is_lock_refused(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.downcast_ref().is_some_and(is_lock_refused),
            _ => false,
        }
    }
}

/// Whether others kept the lock that Postgres was asked for, or waited for us in a circle.
fn is_lock_refused(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Whether the cause passes by itself.
pub(crate) fn passes(error: &DbErr) -> bool {
    let error = match error {
        DbErr::ConnectionAcquire(_) => return true,
        DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error) => error,
        _ => return false,
    };
    let RuntimeErr::SqlxError(error) = error else { return false };
    match error.as_ref() {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // A connection that broke in the middle of a word: the library reads it as a wrong one.
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // Postgres: connection lost, rolled back for another, out of resources, lock not
            // granted in time, shutting down.
            Some(code) if code.len() == 5 => {
                ["08", "40", "53", "55P03", "57P"].iter().any(|class| code.starts_with(class))
            }
            // SQLite, whose extended codes have the primary one in their last byte: busy, locked,
            // input or output error, disk full.
            Some(code) => {
                code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13))
            }
            None => false,
        },
        _ => false,
    }
}

/// Adds what was being done to an error of the database library.
pub(crate) trait Doing<T> {
    /// Names what was being done.
    fn doing(self, doing: &'static str) -> Result<T, Error>;

    /// The same, where a broken unique index means that the value of `field` is taken.
    fn unique(self, field: &'static str, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, DbErr> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Database { doing, source: Box::new(source) })
    }

    fn unique(self, field: &'static str, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| match source.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Error::Duplicate { field },
            _ => Error::Database { doing, source: Box::new(source) },
        })
    }
}
