//! The distinct values at the head of an index, found by jumping from one to the next: the cost
//! grows with their number and not with the rows behind them. Neither database does it by itself
//! for `SELECT DISTINCT`.

use std::fmt::Display;

use domain::id::TenantId;
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};
use uuid::Uuid;

/// An index on two columns, with the words of its condition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) table: &'static str,
    pub(super) first: &'static str,
    pub(super) second: &'static str,
    pub(super) only: &'static str,
}

/// The values of the first column, with those of the second for each.
pub(super) async fn distinct<C: ConnectionTrait>(
    connection: &C,
    walk: Walk,
) -> Result<Vec<(String, Vec<TenantId>)>, DbErr> {
    let Walk { table, first, second, only } = walk;
    let backend = connection.get_database_backend();
    let from = |more: &dyn Display| format!("FROM {table} WHERE {only}{more}");
    let sql = steps(first, &from(&format_args!(" AND {first} IS NOT NULL")), &from(&""));
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await?;
    let firsts: Vec<String> =
        rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(firsts.len());
    for value in firsts {
        let mark = if backend == sea_orm::DbBackend::Postgres { "$1" } else { "?1" };
        let of_first = format!(" AND {first} = {mark}");
        let start = from(&format_args!("{of_first} AND {second} IS NOT NULL"));
        let sql = steps(second, &start, &from(&of_first));
        let given = [Value::from(value.clone())];
        let statement = Statement::from_sql_and_values(backend, sql, given);
        let rows = connection.query_all_raw(statement).await?;
        let seconds = rows.iter().map(|row| row.try_get_by_index::<Uuid>(0).map(TenantId));
        found.push((value, seconds.collect::<Result<_, _>>()?));
    }
    Ok(found)
}

fn steps(column: &str, start: &str, next: &str) -> String {
    format!(
        "WITH RECURSIVE found(value) AS (\
         SELECT (SELECT {column} {start} ORDER BY {column} LIMIT 1) \
         UNION ALL \
         SELECT (SELECT {column} {next} AND {column} > found.value ORDER BY {column} LIMIT 1) \
         FROM found WHERE found.value IS NOT NULL) \
         SELECT value FROM found WHERE value IS NOT NULL"
    )
}
