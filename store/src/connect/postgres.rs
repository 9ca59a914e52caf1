//! Postgres.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    Statement,
};

use super::Settings;
use crate::error::{Doing, Error};

/// Longest wait for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(15);

/// A connection that was idle this long is tried before it is used; the database may have been
/// restarted. Asking every time would cost a round trip per transaction.
const IDLE: Duration = Duration::from_secs(20);

/// Any number that no other program uses for an advisory lock in this database.
const SCHEMA_LOCK: i64 = 0x666c_6f77_6365_6c6c;

/// Another one, held by the scheduler that does a round of admission.
const ROUND_LOCK: i64 = SCHEMA_LOCK + 1;

/// Opens the pool. READ COMMITTED is enough: every transition is guarded by the run's version.
pub(super) async fn open(settings: &Settings) -> Result<DatabaseConnection, Error> {
    let mut options = ConnectOptions::new(&settings.url);
    options
        .max_connections(settings.connections_max)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire_if_idle_for(IDLE)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_postgres_opts(|options| {
            options.application_name("flowcell").options([
                ("default_transaction_isolation", "read committed"),
                // Locks are held for milliseconds; whoever waits longer should fail and try again.
                ("lock_timeout", "5s"),
                // No query of ours takes long; one that does must not hold its locks for ever.
                ("statement_timeout", "60s"),
                // A process that stalls inside a transaction loses it, not everybody else.
                ("idle_in_transaction_session_timeout", "30s"),
            ])
        });
    Database::connect(options).await.doing("connecting to Postgres")
}

/// Waits until no other process changes the schema, for as long as the transaction lasts.
pub(super) async fn lock_schema(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")).await?;
    Ok(())
}

/// Whether this transaction may do a round of admission; no other one may until it ends. A scheduler
/// that stalls in the middle of a round loses the lock soon, and another one goes on.
pub(crate) async fn try_lock_round(tx: &DatabaseTransaction) -> Result<bool, DbErr> {
    tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = '5s'").await?;
    let sql = format!("SELECT pg_try_advisory_xact_lock({ROUND_LOCK})");
    let row = tx.query_one_raw(Statement::from_string(tx.get_database_backend(), sql)).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}
