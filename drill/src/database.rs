//! What the database says, read past everything that is under test.

use std::time::Duration;

use anyhow::{Context, Result};
use sea_orm::{Database, DatabaseConnection, DbBackend, FromQueryResult, Statement};
use tokio::time::Instant;

use crate::time::Millis;

/// After the last run ended. A message is offered again after a second.
const QUIET_WITHIN: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct RunRow {
    pub(crate) id: String,
    pub(crate) key: Option<String>,
    pub(crate) state: String,
    pub(crate) ended: Option<Millis>,
    pub(crate) messages: i64,
}

#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct AttemptRow {
    pub(crate) run: String,
    pub(crate) cell: String,
    pub(crate) attempt: i64,
    pub(crate) ended: Option<Millis>,
    pub(crate) outcome: Option<String>,
    /// The kind of its failure.
    pub(crate) failure: Option<String>,
}

/// What the engine still has to do.
#[derive(Clone, Copy, Debug, Default, FromQueryResult)]
pub(crate) struct Unfinished {
    pub(crate) unpublished: i64,
    pub(crate) leases: i64,
    pub(crate) open_tasks: i64,
}

/// The rows of everything that ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) runs: Vec<RunRow>,
    pub(crate) attempts: Vec<AttemptRow>,
    pub(crate) unfinished: Unfinished,
}

const RUNS: &str = "SELECT id::text AS id, idempotency_key AS key, state, ended, \
    (SELECT count(*) FROM messages WHERE messages.run = runs.id) AS messages \
    FROM runs ORDER BY created, id";

const ATTEMPTS: &str = "SELECT attempts.run::text AS run, cell, attempts.attempt, attempts.ended, \
    attempts.outcome, attempts.failure::json ->> 'kind' AS failure \
    FROM attempts JOIN tasks ON tasks.run = attempts.run AND tasks.position = attempts.task \
    ORDER BY attempts.run, attempts.task, attempts.attempt";

const UNFINISHED: &str = "SELECT \
    (SELECT count(*) FROM outbox WHERE published IS NULL) AS unpublished, \
    (SELECT count(*) FROM tasks WHERE lease_worker IS NOT NULL) AS leases, \
    (SELECT count(*) FROM tasks WHERE state NOT IN ('done', 'failed', 'skipped', 'cancelled')) \
        AS open_tasks";

/// The rows, once nothing is left to do, or as they are when that takes too long.
pub(crate) async fn rows(url: &str) -> Result<Rows> {
    let database = Database::connect(url).await.context("connecting to Postgres")?;
    let until = Instant::now() + QUIET_WITHIN;
    let unfinished = loop {
        let unfinished: Option<Unfinished> = all(&database, UNFINISHED).await?.pop();
        let unfinished = unfinished.context("the database counts nothing")?;
        if unfinished.is_nothing() || Instant::now() > until {
            break unfinished;
        }
        tokio::time::sleep(LOOK).await;
    };
    let (runs, attempts) = (all(&database, RUNS).await?, all(&database, ATTEMPTS).await?);
    database.close().await?;
    Ok(Rows { runs, attempts, unfinished })
}

impl Unfinished {
    fn is_nothing(self) -> bool {
        self.unpublished == 0 && self.leases == 0 && self.open_tasks == 0
    }
}

async fn all<R: FromQueryResult>(database: &DatabaseConnection, sql: &str) -> Result<Vec<R>> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    R::find_by_statement(statement).all(database).await.context("reading the database")
}
