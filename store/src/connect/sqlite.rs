//! SQLite.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use super::Settings;
use crate::error::{Doing, Error};

/// Longest wait for the write connection (within the process) and for the write lock (between
/// processes: `flowcell up` and a command beside it). Transactions take milliseconds.
const BUSY: Duration = Duration::from_secs(30);

/// The log is cut back to this size once it was larger.
const LOG_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Opens readers and the one writer.
pub(super) async fn open(
    settings: &Settings,
) -> Result<(DatabaseConnection, DatabaseConnection), Error> {
    let file = SqliteConnectOptions::from_str(&settings.url)
        .map_err(|error| Error::Settings(error.to_string()))?;
    let path = file.get_filename();
    if [":memory:", "mode=memory"].iter().any(|word| settings.url.contains(word)) {
        return Err(Error::Settings("an SQLite database must be a file".to_owned()));
    }
    make_private(path)?;
    let write = pool(settings, 1, |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would lose the last commits on a power cut, and with them accepted runs.
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
    })
    .await
    .doing("opening the SQLite database for writing")?;
    let read = pool(settings, settings.connections_max, |options| {
        // A write that strays into this pool is refused instead of meeting a busy database.
        options.pragma("query_only", "on")
    })
    .await
    .doing("opening the SQLite database for reading")?;
    Ok((read, write))
}

async fn pool(
    settings: &Settings,
    connections: u32,
    configure: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |options| {
            configure(options.busy_timeout(BUSY).foreign_keys(true))
        });
    Database::connect(options).await
}

/// Makes the file, or takes the permissions of others away from an existing one: it holds
/// everybody's flows and messages. SQLite gives its log files the mode of the database.
fn make_private(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_path_buf(), source };
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut permissions = file.metadata().map_err(failed)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions).map_err(failed)?;
    }
    Ok(())
}
