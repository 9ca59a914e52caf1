//! How much waits in the whole cluster, for its operator: counts, never a row of a tenant.
//!
//! Every query is answered by a partial index that holds only what waits, so that ended runs cost
//! nothing. What such an index is about is written out in the SQL: only then does it apply.

use domain::id::TenantId;
use domain::run::RunState;
use domain::time::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::Engine;
use crate::error::{Doing, Error};

const DOING: &str = "collecting figures";

/// What waits, and how long it has been waiting. Queues and pools come as they are stored, in no
/// order; the empty name is the schedulers' own pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Runs that have not ended, by state.
    pub runs: Vec<(RunState, u64)>,
    /// Runs that wait for their turn, by tenant. Children have none, and delayed runs none yet.
    pub queued: Vec<(TenantId, Queued)>,
    /// Tasks that a worker could take now, admitted or not, by queue.
    pub ready: Vec<(String, Queued)>,
    /// Tasks that a worker holds, by queue.
    pub leased: Vec<(String, u64)>,
    /// Messages that are not known to be published.
    pub outbox: Queued,
    /// Ended runs whose event log is still on the bus although it should be archived.
    pub unarchived: Queued,
    /// Runs that failed while nobody waited for them, and were neither run again nor dismissed;
    /// counted up to 100,000.
    pub dead_letters: u64,
    /// Workers whose lease is good, and the cells that they can run at once, by pool.
    pub workers: Vec<(String, Workers)>,
}

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// How many wait.
    pub count: u64,
    /// Since when the first one does.
    pub oldest: Option<Timestamp>,
}

/// The workers of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workers {
    /// How many there are.
    pub count: u64,
    /// Their slots.
    pub slots: u64,
}

const OPEN_RUNS: &str = "SELECT state, COUNT(*) FROM runs WHERE ended IS NULL GROUP BY state";

const QUEUED_RUNS: &str = "SELECT COUNT(*), MIN(created), tenant FROM runs \
                           WHERE state = 'queued' AND not_before IS NULL AND parent_run IS NULL \
                           GROUP BY tenant";

// A task that waits for its next try is not ready before.
const READY: &str = "SELECT COUNT(*), MIN(ready_since), COALESCE(queue, '') FROM tasks \
                     WHERE state = 'ready' AND ready_since <= $1 GROUP BY 3";

const LEASED: &str = "SELECT COUNT(*), COALESCE(queue, '') FROM tasks \
                      WHERE lease_worker IS NOT NULL GROUP BY 2";

const OUTBOX: &str = "SELECT COUNT(*), MIN(created) FROM outbox WHERE published IS NULL";

const UNARCHIVED: &str = "SELECT COUNT(*), MIN(ended) FROM runs \
                          WHERE ended IS NOT NULL AND event_log IS NULL AND ended <= $1";

// They wait for a person, and nobody may come for months: so they are counted only so far.
const DEAD_LETTERS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM runs \
                            WHERE detached AND settled IS NULL \
                            AND state IN ('failed', 'timed_out') LIMIT 100000) AS counted";

const WORKERS: &str = "SELECT COUNT(*), CAST(SUM(slots) AS bigint), COALESCE(pool, '') \
                       FROM workers WHERE NOT gone AND lease_until > $1 GROUP BY 3";

/// The statements with the name of each, for who wants to see their plans.
pub const STATEMENTS: [(&str, &str); 8] = [
    ("open runs", OPEN_RUNS),
    ("queued runs", QUEUED_RUNS),
    ("ready tasks", READY),
    ("leased tasks", LEASED),
    ("outbox", OUTBOX),
    ("unarchived runs", UNARCHIVED),
    ("dead letters", DEAD_LETTERS),
    ("workers", WORKERS),
];

impl Engine {
    /// What waits now; event logs count from `archive_before` on.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn waiting(
        &self,
        now: Timestamp,
        archive_before: Timestamp,
    ) -> Result<Waiting, Error> {
        let waiting = self.all(QUEUED_RUNS, None).await?;
        let ready = self.all(READY, Some(now)).await?;
        let leased = self.all(LEASED, None).await?;
        let workers = self.all(WORKERS, Some(now)).await?;
        Ok(Waiting {
            runs: self.open_run_states().await?,
            queued: each(&waiting, |row| Ok((tenant(row, 2)?, queued(row)?)))?,
            ready: each(&ready, |row| Ok((name(row, 2)?, queued(row)?)))?,
            leased: each(&leased, |row| Ok((name(row, 1)?, count(row, 0)?)))?,
            outbox: queued(&self.one(OUTBOX, None).await?)?,
            unarchived: queued(&self.one(UNARCHIVED, Some(archive_before)).await?)?,
            dead_letters: count(&self.one(DEAD_LETTERS, None).await?, 0)?,
            workers: each(&workers, |row| {
                Ok((name(row, 2)?, Workers { count: count(row, 0)?, slots: count(row, 1)? }))
            })?,
        })
    }

    async fn open_run_states(&self) -> Result<Vec<(RunState, u64)>, Error> {
        each(&self.all(OPEN_RUNS, None).await?, |row| {
            let state = RunState::named(&name(row, 0)?);
            Ok((state.ok_or(Error::Corrupt { what: "state of a run" })?, count(row, 1)?))
        })
    }

    async fn all(&self, sql: &str, until: Option<Timestamp>) -> Result<Vec<QueryResult>, Error> {
        let db = self.store.read();
        let values = until.map(|until| until.millis().into());
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        db.query_all_raw(statement).await.doing(DOING)
    }

    async fn one(&self, sql: &str, until: Option<Timestamp>) -> Result<QueryResult, Error> {
        let row = self.all(sql, until).await?.into_iter().next();
        row.ok_or(Error::Corrupt { what: "answer of the database (it counts nothing)" })
    }
}

fn each<T>(
    rows: &[QueryResult],
    read: impl Fn(&QueryResult) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    rows.iter().map(read).collect()
}

fn queued(row: &QueryResult) -> Result<Queued, Error> {
    let oldest: Option<i64> = row.try_get_by_index(1).doing(DOING)?;
    Ok(Queued { count: count(row, 0)?, oldest: oldest.map(Timestamp) })
}

fn tenant(row: &QueryResult, column: usize) -> Result<TenantId, Error> {
    row.try_get_by_index(column).map(TenantId).doing(DOING)
}

fn name(row: &QueryResult, column: usize) -> Result<String, Error> {
    row.try_get_by_index(column).doing(DOING)
}

fn count(row: &QueryResult, column: usize) -> Result<u64, Error> {
    let found: i64 = row.try_get_by_index(column).doing(DOING)?;
    u64::try_from(found).map_err(|_| Error::Corrupt { what: "number" })
}
