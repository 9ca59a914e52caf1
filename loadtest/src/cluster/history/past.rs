//! Ended runs without number. Real ones are the models: each generated run has the rows of one of
//! them in every table, with another id, other times, another session and another event log.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, FromQueryResult, Statement,
    TransactionTrait as _,
};
use serde::Serialize;
use serde_json::Value;

use super::{Tenants, statements};

/// Runs of one transaction.
const BATCH: u64 = 50_000;
/// Transactions at once: one for each processor of a small machine.
const AT_ONCE: usize = 2;
/// The first of them was accepted so long ago.
pub(super) const DAYS: u64 = 90;
/// Each session has so many runs.
const SESSION_RUNS: u64 = 10;
/// One of the sessions.
pub(super) const SESSION: &str = "session-1";
/// An event log leaves the bus a minute after its run's end, when a sweep comes by.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_secs(1);

/// Of a hundred runs, those below the first number are of the first model, and so on: four fifths
/// are the first tenant's.
const UNTIL: [u64; 5] = [64, 79, 80, 95, 100];
/// No run of this model failed; of the others, one of fifty.
const NEVER_FAILED: usize = 2;

/// What the generated runs are.
#[derive(Debug, Clone, Serialize)]
pub struct Filled {
    /// How many.
    pub runs: u64,
    /// Of them, those of the tenant that is asked.
    pub of_the_tenant: u64,
    /// How long it took to generate them.
    pub seconds: f64,
    /// What the whole database occupies for each run, in bytes.
    pub bytes_per_run: f64,
    /// The tables, largest first.
    pub tables: Vec<Table>,
    /// One from the middle.
    pub middle: Place,
}

/// A table and what it has grown to.
#[derive(Debug, Clone, Serialize, FromQueryResult)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its rows, with those that lie apart because they are large.
    pub bytes: i64,
    /// Its indexes.
    pub index_bytes: i64,
}

/// A run's place in a list.
#[derive(Debug, Clone, Serialize, FromQueryResult)]
pub struct Place {
    /// The run.
    pub run: String,
    /// When it was accepted.
    pub created: i64,
}

/// Real runs, in the order of [`UNTIL`].
pub(super) struct Models {
    pub(super) newest: Place,
    runs: Vec<Model>,
    tables: Vec<(String, Vec<Column>)>,
}

struct Model {
    run: String,
    tenant: String,
    created: i64,
    event_log: String,
}

#[derive(Debug, Clone, FromQueryResult)]
struct Column {
    name: String,
    data_type: String,
}

/// Has every flow run once, and waits until nothing of it is left but what stays.
pub(super) async fn models(database: &DatabaseConnection, tenants: &Tenants) -> Result<Models> {
    eprintln!("waiting until the event logs of the first runs are archived …");
    let [second, third] = &tenants.others;
    let mut runs = Vec::new();
    for tenant in [&tenants.most, &tenants.some, &tenants.rare, second, third] {
        runs.push(tenant.submit().await?);
    }
    let mut models = Vec::new();
    for run in runs {
        models.push(model(database, run).await?);
    }
    let newest = models.first().context("there is no model")?;
    let newest = Place { run: newest.run.clone(), created: newest.created };
    Ok(Models { newest, runs: models, tables: tables(database).await? })
}

/// Generates so many ended runs, the newest of them an hour old.
pub(super) async fn fill(
    database: &DatabaseConnection,
    models: &Models,
    runs: u64,
) -> Result<Filled> {
    let (began, empty) = (Instant::now(), size(database).await?);
    hurry(database, true).await?;
    let bar = bar(runs)?;
    let newest = models.newest.created - 3_600_000;
    let batches = (0..runs).step_by(usize::try_from(BATCH)?).map(|first| {
        let past = Past { first, end: (first + BATCH).min(runs), runs, newest };
        let bar = &bar;
        async move {
            batch(database, models, &past).await?;
            bar.inc(past.end - past.first);
            if !bar.is_hidden() {
                return Ok(());
            }
            eprintln!("{} of {runs} ended runs", bar.position());
            anyhow::Ok(())
        }
    });
    stream::iter(batches).buffered(AT_ONCE).try_collect::<()>().await?;
    bar.finish_and_clear();
    eprintln!("generated in {:.0} s; VACUUM, ANALYZE …", began.elapsed().as_secs_f64());
    database.execute_unprepared("VACUUM (ANALYZE)").await?;
    hurry(database, false).await?;
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let bytes_per_run = (size(database).await? - empty) as f64 / runs.max(1) as f64;
    let middle = "SELECT id::text AS run, created FROM runs WHERE created <= $1 AND tenant = $2 \
                  ORDER BY created DESC LIMIT 1";
    let tenant = models.runs.first().context("there is no model")?.tenant.clone();
    let half_way = newest - span_ms() / 2;
    let sql = middle.replace("$1", &half_way.to_string()).replace("$2", &format!("'{tenant}'"));
    let middle = rows(database, &sql).await?.pop().context("no run was generated")?;
    let of_the_tenant = runs / 100 * UNTIL[NEVER_FAILED];
    let tables = sizes(database).await?;
    Ok(Filled { runs, of_the_tenant, seconds, bytes_per_run, tables, middle })
}

/// The rows that a query gives.
pub(super) async fn rows<R: FromQueryResult>(
    database: &DatabaseConnection,
    sql: &str,
) -> Result<Vec<R>> {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    R::find_by_statement(statement).all(database).await.context("asking Postgres")
}

fn span_ms() -> i64 {
    i64::try_from(DAYS * 86_400_000).unwrap_or(i64::MAX)
}

async fn model(database: &DatabaseConnection, run: String) -> Result<Model> {
    #[derive(FromQueryResult)]
    struct Ended {
        tenant: String,
        created: i64,
        event_log: String,
    }
    let sql = format!(
        "SELECT tenant::text, created, encode(event_log, 'hex') AS event_log FROM runs \
         WHERE id = '{run}' AND state = 'completed' AND event_log IS NOT NULL"
    );
    let until = Instant::now() + ARCHIVED_WITHIN;
    loop {
        if let Some(Ended { tenant, created, event_log }) = rows(database, &sql).await?.pop() {
            return Ok(Model { run, tenant, created, event_log });
        }
        if Instant::now() > until {
            bail!("the event log of run {run} is not archived after {ARCHIVED_WITHIN:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The tables that may have rows of a run, and their columns: whatever refers to one.
async fn tables(database: &DatabaseConnection) -> Result<Vec<(String, Vec<Column>)>> {
    #[derive(FromQueryResult)]
    struct Name {
        name: String,
    }
    let sql = "SELECT table_name::text AS name FROM information_schema.columns \
               WHERE table_schema = 'public' AND column_name = 'run' AND data_type = 'uuid'";
    let found: Vec<Name> = rows(database, sql).await?;
    let first = ["runs", "payloads", "payload_chunks"].map(str::to_owned);
    let mut tables = Vec::new();
    for name in first.into_iter().chain(found.into_iter().map(|found| found.name)) {
        let sql = format!(
            "SELECT column_name::text AS name, data_type::text FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{name}' ORDER BY ordinal_position"
        );
        let columns = rows(database, &sql).await?;
        tables.push((name, columns));
    }
    Ok(tables)
}

/// Some of the generated runs, by their numbers.
struct Past {
    first: u64,
    end: u64,
    runs: u64,
    newest: i64,
}

impl Past {
    /// A table of what differs from run to run. Ids are in order of time, as real ones are.
    fn sql(&self) -> String {
        let Self { first, end, runs, newest } = self;
        let (last, span) = (end.saturating_sub(1), span_ms());
        let [a, b, c, d, _] = UNTIL;
        format!(
            "CREATE TEMP TABLE past ON COMMIT DROP AS \
             SELECT n, model, created, \
               (lpad(to_hex(created), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' \
                || substr(md5(n::text), 1, 15))::uuid AS id, \
               sha256(n::text::bytea) AS log, \
               'session-' || (n / {SESSION_RUNS}) AS session, \
               (n / 100 % 50 = 0 AND model <> {NEVER_FAILED}) AS failed \
             FROM (SELECT n, \
               (CASE WHEN n % 100 < {a} THEN 0 WHEN n % 100 < {b} THEN 1 WHEN n % 100 < {c} THEN 2 \
                WHEN n % 100 < {d} THEN 3 ELSE 4 END) AS model, \
               ({newest} - {span} + n * {span} / {runs})::bigint AS created \
             FROM generate_series({first}::bigint, {last}) AS n) AS numbers"
        )
    }
}

async fn batch(database: &DatabaseConnection, models: &Models, past: &Past) -> Result<()> {
    let tx = database.begin().await?;
    // Foreign keys would be checked row by row, and hold by construction.
    tx.execute_unprepared("SET LOCAL session_replication_role = replica").await?;
    tx.execute_unprepared("SET LOCAL synchronous_commit = off").await?;
    tx.execute_unprepared(&past.sql()).await?;
    for (number, model) in models.runs.iter().enumerate() {
        for (table, columns) in &models.tables {
            let source = format!("SELECT * FROM {table} WHERE {}", model.rows_of(table));
            let sql = format!("SELECT to_jsonb(row) AS row FROM ({source} LIMIT 1) AS row");
            let query = Statement::from_string(DbBackend::Postgres, sql);
            let Some(found) = tx.query_one_raw(query).await? else { continue };
            let row: Value = found.try_get("", "row")?;
            let names: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
            let values: Vec<String> =
                columns.iter().map(|column| model.value(table, column, &row)).collect();
            let insert = format!(
                "INSERT INTO {table} ({}) SELECT {} FROM ({source}) AS t CROSS JOIN past AS p \
                 WHERE p.model = {number} ORDER BY p.n",
                names.join(", "),
                values.join(", ")
            );
            tx.execute_unprepared(&insert).await.with_context(|| format!("filling {table}"))?;
        }
    }
    Ok(tx.commit().await?)
}

impl Model {
    fn rows_of(&self, table: &str) -> String {
        let Self { run, tenant, event_log, .. } = self;
        match table {
            "runs" => format!("id = '{run}'"),
            "payloads" | "payload_chunks" => {
                format!("tenant = '{tenant}' AND sha256 = '\\x{event_log}'")
            }
            _ => format!("run = '{run}'"),
        }
    }

    /// What a generated run has in this column, where the model has this row.
    fn value(&self, table: &str, Column { name, data_type }: &Column, row: &Value) -> String {
        // In milliseconds since 1970; no other number is as large.
        const TIMES_FROM: i64 = 1_000_000_000_000;
        let value = row.get(name);
        let text = value.and_then(Value::as_str);
        let number = value.and_then(Value::as_i64);
        match (table, name.as_str(), data_type.as_str()) {
            ("runs", "session_id", _) => "p.session".to_owned(),
            ("runs", "state", _) => "CASE WHEN p.failed THEN 'failed' ELSE t.state END".to_owned(),
            (_, _, "uuid") if text == Some(&self.run) => "p.id".to_owned(),
            (_, "id", "uuid") => "gen_random_uuid()".to_owned(),
            (_, _, "bytea") if text == Some(&format!("\\x{}", self.event_log)) => {
                "p.log".to_owned()
            }
            (_, _, "bigint") if number.is_some_and(|number| number > TIMES_FROM) => {
                format!("t.\"{name}\" - {} + p.created", self.created)
            }
            _ => format!("t.\"{name}\""),
        }
    }
}

/// What a server may leave out while nothing of value is written: it would only take longer.
async fn hurry(database: &DatabaseConnection, on: bool) -> Result<()> {
    let settings = ["autovacuum", "full_page_writes"];
    for setting in settings {
        let sql = if on {
            format!("ALTER SYSTEM SET {setting} = off")
        } else {
            format!("ALTER SYSTEM RESET {setting}")
        };
        database.execute_unprepared(&sql).await?;
    }
    database.execute_unprepared("SELECT pg_reload_conf()").await?;
    database.execute_unprepared("CHECKPOINT").await?;
    statements::forget(database).await
}

async fn size(database: &DatabaseConnection) -> Result<i64> {
    let tables = sizes(database).await?;
    Ok(tables.iter().map(|table| table.bytes + table.index_bytes).sum())
}

async fn sizes(database: &DatabaseConnection) -> Result<Vec<Table>> {
    let sql = "SELECT relname::text AS name, pg_table_size(oid) AS bytes, \
               pg_indexes_size(oid) AS index_bytes FROM pg_class \
               WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
               ORDER BY pg_total_relation_size(oid) DESC LIMIT 12";
    rows(database, sql).await
}

fn bar(runs: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("ended runs {wide_bar} {pos}/{len} {elapsed} {eta}")?;
    Ok(ProgressBar::new(runs).with_style(style))
}
