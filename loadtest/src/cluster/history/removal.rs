//! What the removal of old runs costs those that follow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use sea_orm::{DatabaseConnection, FromQueryResult};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::asks::Asks;
use super::past::{DAYS, Place, rows};
use super::{Answered, CALLERS, Stand, Statement, statements};
use crate::cluster::report::Step;

const LOOK: Duration = Duration::from_millis(20);
/// A round of removal begins every few seconds.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Removal {
    /// Runs that were removed meanwhile.
    pub runs_removed: i64,
    /// In this time.
    pub seconds: f64,
    /// Lists and views.
    pub asks: Vec<Answered>,
    /// New runs, by callers.
    pub runs: Vec<Step>,
    /// What the database was asked, by whomever.
    pub statements: Vec<Statement>,
    /// The oldest transaction of the cluster that was ever seen, in milliseconds.
    pub transaction_ms_max: f64,
    /// How often it was looked.
    pub looks: u64,
    /// Of these, how often anybody waited for a lock.
    pub looks_with_waits: u64,
    /// Dead rows and clean-ups at the end.
    pub tables: Vec<Cleaned>,
}

/// How a table is cleaned up.
#[derive(Debug, Clone, Serialize, FromQueryResult)]
pub struct Cleaned {
    /// Its name.
    pub name: String,
    /// Rows that are gone and still have a place.
    pub dead: i64,
    /// Rows that are not.
    pub live: i64,
    /// How often autovacuum has come by.
    pub autovacuums: i64,
}

#[derive(Debug, FromQueryResult)]
struct Busy {
    oldest_ms: f64,
    waiting: i64,
}

#[derive(Default)]
struct Looked {
    oldest_ms: f64,
    looks: u64,
    with_waits: u64,
}

/// Has the first tenant keep its runs for a day less than the oldest are old.
pub(super) async fn measure(stand: &Stand<'_>, at: &Place) -> Result<Removal> {
    eprintln!("removing what is older than {} days …", DAYS - 1);
    statements::forget(&stand.database).await?;
    retain(stand).await?;
    removed_more_than(&stand.database, 0).await?;
    let (began, first) = (Instant::now(), removed(&stand.database).await?);
    let (end, ended) = watch::channel(());
    let watching = tokio::spawn(watch_locks(stand.database.clone(), ended));
    let mut runs = Vec::new();
    for callers in CALLERS {
        runs.push(stand.new_runs(callers).await?);
    }
    let asks = Asks::new(&stand.tenants, at)?.measure().await?;
    drop(end);
    let looked = watching.await??;
    Ok(Removal {
        runs_removed: removed(&stand.database).await? - first,
        seconds: began.elapsed().as_secs_f64(),
        asks,
        runs,
        statements: statements::seen(&stand.database).await?,
        transaction_ms_max: looked.oldest_ms,
        looks: looked.looks,
        looks_with_waits: looked.with_waits,
        tables: cleaned(&stand.database).await?,
    })
}

async fn retain(stand: &Stand<'_>) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let path = "/api/flowcell/v1/retention";
    let request = stand.tenants.most.request(&http, Method::PUT, path);
    let response = request.json(&json!({"runs_days": DAYS - 1})).send().await?;
    ensure!(response.status().is_success(), "a retention was answered with {}", response.status());
    Ok(())
}

async fn removed_more_than(database: &DatabaseConnection, runs: i64) -> Result<()> {
    let until = Instant::now() + BEGINS_WITHIN;
    while removed(database).await? <= runs {
        ensure!(Instant::now() < until, "no run was removed within {BEGINS_WITHIN:?}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// As the statistics of Postgres have it, which follow by a second.
async fn removed(database: &DatabaseConnection) -> Result<i64> {
    #[derive(FromQueryResult)]
    struct Deleted {
        deleted: i64,
    }
    let sql = "SELECT n_tup_del AS deleted FROM pg_stat_user_tables WHERE relname = 'runs'";
    let found: Deleted = rows(database, sql).await?.pop().context("there is no table of runs")?;
    Ok(found.deleted)
}

/// Looks again and again until the other end of the channel is gone.
async fn watch_locks(
    database: DatabaseConnection,
    mut ended: watch::Receiver<()>,
) -> Result<Looked> {
    let sql = "SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 \
               * 1000 AS oldest_ms, count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting \
               FROM pg_stat_activity WHERE application_name = 'flowcell'";
    let mut looked = Looked::default();
    loop {
        let busy: Busy = rows(&database, sql).await?.pop().context("nobody is connected")?;
        looked.looks += 1;
        looked.with_waits += u64::from(busy.waiting > 0);
        looked.oldest_ms = looked.oldest_ms.max(busy.oldest_ms);
        tokio::select! {
            _ = ended.changed() => return Ok(looked),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn cleaned(database: &DatabaseConnection) -> Result<Vec<Cleaned>> {
    let sql = "SELECT relname::text AS name, n_dead_tup AS dead, n_live_tup AS live, \
               autovacuum_count AS autovacuums FROM pg_stat_user_tables \
               ORDER BY n_dead_tup DESC LIMIT 8";
    rows(database, sql).await
}
