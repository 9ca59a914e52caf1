//! Updating many rows, each with its own values, in one statement.

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, Value,
};

/// Rows per statement: with the widest row of ours far below SQLite's 32,766 parameters.
const ROWS_MAX: usize = 1_000;

/// `UPDATE <table> SET <set> FROM (VALUES …) AS v WHERE <on>`, where the given rows are
/// `v.column1`, `v.column2`, … . Both databases understand it.
pub(crate) struct BulkUpdate {
    pub(crate) table: &'static str,
    pub(crate) set: &'static str,
    pub(crate) on: &'static str,
}

impl BulkUpdate {
    /// Runs it and tells how many rows were changed.
    pub(crate) async fn execute(
        &self,
        tx: &DatabaseTransaction,
        rows: Vec<Vec<Value>>,
    ) -> Result<u64, DbErr> {
        let mut changed = 0;
        for rows in chunks(rows) {
            let statement = self.statement(tx.get_database_backend(), rows, "");
            changed += tx.execute_raw(statement).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs it and gives these columns of the changed rows.
    pub(crate) async fn returning(
        &self,
        tx: &DatabaseTransaction,
        rows: Vec<Vec<Value>>,
        columns: &'static str,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut changed = Vec::new();
        for rows in chunks(rows) {
            let tail = format!(" RETURNING {columns}");
            let statement = self.statement(tx.get_database_backend(), rows, &tail);
            changed.extend(tx.query_all_raw(statement).await?);
        }
        Ok(changed)
    }

    fn statement(&self, backend: DbBackend, rows: Vec<Vec<Value>>, tail: &str) -> Statement {
        let mut number = 0;
        let mut tuples = Vec::with_capacity(rows.len());
        for row in &rows {
            let marks: Vec<String> = row
                .iter()
                .map(|_| {
                    number += 1;
                    if backend == DbBackend::Postgres { format!("${number}") } else { "?".into() }
                })
                .collect();
            tuples.push(format!("({})", marks.join(", ")));
        }
        let Self { table, set, on } = self;
        let values = tuples.join(", ");
        let sql = format!("UPDATE {table} SET {set} FROM (VALUES {values}) AS v WHERE {on}{tail}");
        Statement::from_sql_and_values(backend, sql, rows.into_iter().flatten())
    }
}

fn chunks(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Vec<Value>>> {
    let mut chunks = Vec::new();
    while rows.len() > ROWS_MAX {
        let rest = rows.split_off(ROWS_MAX);
        chunks.push(std::mem::replace(&mut rows, rest));
    }
    if !rows.is_empty() {
        chunks.push(rows);
    }
    chunks
}
