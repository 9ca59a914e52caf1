//! SQLite.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use super::Settings;
use crate::error::{Doing, Error, passes};

/// Longest wait for the write connection (within the process) and for the write lock (between
/// processes: `flowcell up` and a command beside it). Transactions take milliseconds.
const BUSY: Duration = Duration::from_secs(30);

/// Between two tries to open a database that is busy.
const AGAIN: Duration = Duration::from_millis(20);

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
    make_private(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
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

/// Connects; tries again while the database is busy. Turning the log on is the one thing for which
/// SQLite does not wait by itself, and at the first start several processes may do it at once.
async fn pool(
    settings: &Settings,
    connections: u32,
    configure: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Clone + Send + Sync + 'static,
) -> Result<DatabaseConnection, DbErr> {
    let started = Instant::now();
    loop {
        let configure = configure.clone();
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
        match Database::connect(options).await {
            Err(error) if passes(&error) && started.elapsed() < BUSY => {
                tokio::time::sleep(AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// Makes the file, or takes the permissions of others away from an existing one: it holds
/// everybody's flows and messages. SQLite gives its log files the mode of the database.
///
/// An existing file is not opened: closing it would take away the locks that SQLite holds on it
/// elsewhere in this process.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    let mut permissions = std::fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}
