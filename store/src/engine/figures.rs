//! How much waits in the whole cluster, for its operator: counts, never a row of a tenant.
//!
//! Every query is answered by a partial index that holds only what waits, so that ended runs cost
//! nothing. What such an index is about is written out in the SQL: only then does it apply.

use domain::run::RunState;
use domain::time::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::Engine;
use crate::error::{Doing, Error};

const DOING: &str = "collecting figures";

/// What waits, and how long it has been waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Runs that have not ended, by state.
    pub runs: Vec<(RunState, u64)>,
    /// Tasks that a worker could take now, admitted or not.
    pub ready: Queued,
    /// Tasks that a worker holds.
    pub leased: u64,
    /// Messages that are not known to be published.
    pub outbox: Queued,
    /// Ended runs whose event log is still on the bus although it should be archived.
    pub unarchived: Queued,
    /// Runs that failed while nobody waited for them, and were neither run again nor dismissed;
    /// counted up to 100,000.
    pub dead_letters: u64,
    /// Workers whose lease is good, and the cells that they can run at once.
    pub workers: Workers,
}

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// How many wait.
    pub count: u64,
    /// Since when the first one does.
    pub oldest: Option<Timestamp>,
}

/// The workers of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// How many there are.
    pub count: u64,
    /// Their slots.
    pub slots: u64,
}

const OPEN_RUNS: &str = "SELECT state, COUNT(*) FROM runs WHERE ended IS NULL GROUP BY state";

// A task that waits for its next try is not ready before.
const READY: &str = "SELECT COUNT(*), MIN(ready_since) FROM tasks \
                     WHERE state = 'ready' AND ready_since <= $1";

const LEASED: &str = "SELECT COUNT(*) FROM tasks WHERE lease_worker IS NOT NULL";

const OUTBOX: &str = "SELECT COUNT(*), MIN(created) FROM outbox WHERE published IS NULL";

const UNARCHIVED: &str = "SELECT COUNT(*), MIN(ended) FROM runs \
                          WHERE ended IS NOT NULL AND event_log IS NULL AND ended <= $1";

// They wait for a person, and nobody may come for months: so they are counted only so far.
const DEAD_LETTERS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM runs \
                            WHERE detached AND settled IS NULL \
                            AND state IN ('failed', 'timed_out') LIMIT 100000) AS counted";

const WORKERS: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(slots), 0) AS bigint) FROM workers \
                       WHERE NOT gone AND lease_until > $1";

/// The statements with the name of each, for who wants to see their plans.
pub const STATEMENTS: [(&str, &str); 7] = [
    ("open runs", OPEN_RUNS),
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
        let (workers, slots) = pair(&self.one(WORKERS, Some(now)).await?)?;
        Ok(Waiting {
            runs: self.open_run_states().await?,
            ready: queued(&self.one(READY, Some(now)).await?)?,
            leased: count(&self.one(LEASED, None).await?, 0)?,
            outbox: queued(&self.one(OUTBOX, None).await?)?,
            unarchived: queued(&self.one(UNARCHIVED, Some(archive_before)).await?)?,
            dead_letters: count(&self.one(DEAD_LETTERS, None).await?, 0)?,
            workers: Workers { count: workers, slots },
        })
    }

    async fn open_run_states(&self) -> Result<Vec<(RunState, u64)>, Error> {
        let db = self.store.read();
        let statement = Statement::from_string(db.get_database_backend(), OPEN_RUNS);
        let rows = db.query_all_raw(statement).await.doing(DOING)?;
        let state = |row: &QueryResult| {
            let name: String = row.try_get_by_index(0).doing(DOING)?;
            let state = RunState::named(&name).ok_or(Error::Corrupt { what: "state of a run" })?;
            Ok((state, count(row, 1)?))
        };
        rows.iter().map(state).collect()
    }

    async fn one(&self, sql: &str, until: Option<Timestamp>) -> Result<QueryResult, Error> {
        let db = self.store.read();
        let values = until.map(|until| until.millis().into());
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        let row = db.query_one_raw(statement).await.doing(DOING)?;
        row.ok_or(Error::Corrupt { what: "answer of the database (it counts nothing)" })
    }
}

fn queued(row: &QueryResult) -> Result<Queued, Error> {
    let oldest: Option<i64> = row.try_get_by_index(1).doing(DOING)?;
    Ok(Queued { count: count(row, 0)?, oldest: oldest.map(Timestamp) })
}

fn pair(row: &QueryResult) -> Result<(u64, u64), Error> {
    Ok((count(row, 0)?, count(row, 1)?))
}

fn count(row: &QueryResult, column: usize) -> Result<u64, Error> {
    let found: i64 = row.try_get_by_index(column).doing(DOING)?;
    u64::try_from(found).map_err(|_| Error::Corrupt { what: "number" })
}
