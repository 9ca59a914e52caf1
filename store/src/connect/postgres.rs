//! Postgres.

use std::time::{Duration, Instant};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    Statement,
};
use tokio_util::task::AbortOnDropHandle;

use domain::time::Timestamp;

use super::Settings;
use crate::clock::{self, Reading};
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

/// Shorter than the second after which Postgres looks for a circle, and ends one or the other of
/// it: it is always the step that gives way.
const TABLE_MAX: &str = "500ms";

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

/// Goes by the server's clock, which it reads once at first and then again and again.
pub(super) async fn follow_clock(pool: DatabaseConnection) -> Result<AbortOnDropHandle<()>, Error> {
    clock::set(read_clock(&pool).await.doing("reading the clock of Postgres")?);
    let following = tokio::spawn(async move {
        loop {
            tokio::time::sleep(clock::READ_EVERY).await;
            // While nobody answers the time goes on without.
            if let Ok(reading) = read_clock(&pool).await {
                clock::set(reading);
            }
        }
    });
    Ok(AbortOnDropHandle::new(following))
}

async fn read_clock(pool: &DatabaseConnection) -> Result<Reading, DbErr> {
    const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let asked = Instant::now();
    let row = pool.query_one_raw(Statement::from_string(pool.get_database_backend(), SQL)).await?;
    let answered = Instant::now();
    let said = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(Reading { said: Timestamp(said), asked, answered })
}

/// Waits until no other process changes the schema, for as long as the transaction lasts. Then no
/// table is waited for longer than [`TABLE_MAX`]: whoever wants it meanwhile stands behind us.
pub(super) async fn lock_schema(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")).await?;
    tx.execute_unprepared(&format!("SET LOCAL lock_timeout = '{TABLE_MAX}'")).await?;
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
