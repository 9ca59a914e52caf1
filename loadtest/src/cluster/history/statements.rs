//! What the database was asked, as `pg_stat_statements` counts it.

use anyhow::{Context as _, Result};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, FromQueryResult};
use serde::Serialize;

use super::past::rows;

/// A statement of any process of the cluster.
#[derive(Debug, Clone, Serialize, FromQueryResult)]
pub struct Statement {
    /// Its text, with `$1` for values.
    pub query: String,
    /// How often it was executed.
    pub calls: i64,
    /// How long that took, on average.
    pub mean_ms: f64,
    /// And at most.
    pub max_ms: f64,
    /// Pages that one execution touches, wherever they were.
    pub pages: f64,
    /// Rows that one execution gives or changes.
    pub rows: f64,
}

/// Rarer ones are of this program, or say little.
const CALLS_MIN: i64 = 3;

/// What the server has to be started with.
pub(super) fn postgres_settings() -> Vec<String> {
    vec!["shared_preload_libraries=pg_stat_statements".to_owned()]
}

pub(super) async fn prepare(database: &DatabaseConnection) -> Result<()> {
    let made = database.execute_unprepared("CREATE EXTENSION pg_stat_statements").await;
    made.context("this Postgres has no pg_stat_statements: install its contrib package")?;
    Ok(())
}

pub(super) async fn forget(database: &DatabaseConnection) -> Result<()> {
    database.execute_unprepared("SELECT pg_stat_statements_reset()").await?;
    Ok(())
}

/// Since they were forgotten, the most costly first.
pub(super) async fn seen(database: &DatabaseConnection) -> Result<Vec<Statement>> {
    let sql = format!(
        "SELECT query, calls, mean_exec_time AS mean_ms, max_exec_time AS max_ms, \
         ((shared_blks_hit + shared_blks_read)::float8 / calls) AS pages, \
         (rows::float8 / calls) AS rows \
         FROM pg_stat_statements WHERE calls >= {CALLS_MIN} AND query NOT LIKE '%pg_stat_%' \
         AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         ORDER BY total_exec_time DESC"
    );
    rows(database, &sql).await
}
