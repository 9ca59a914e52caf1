//! SQL with a few words that each database spells its own way.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// Runs the statements. Words in braces are replaced:
///
/// | word | SQLite | Postgres |
/// |---|---|---|
/// | `{uuid}` | `blob` | `uuid` |
/// | `{bytes}` | `blob` | `bytea` |
/// | `{often_updated}` | nothing | room in each page, so that most updates touch no index |
///
/// JSON is `text` on both: it comes back byte for byte as it was written, with its order of keys,
/// and may hold the escape `\u0000`, which `jsonb` refuses.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let words = match manager.get_database_backend() {
        DbBackend::Postgres => [
            ("{uuid}", "uuid"),
            ("{bytes}", "bytea"),
            ("{often_updated}", "WITH (fillfactor = 80)"),
        ],
        _ => [("{uuid}", "blob"), ("{bytes}", "blob"), ("{often_updated}", "")],
    };
    for statement in statements {
        let sql =
            words.iter().fold((*statement).to_owned(), |sql, (from, to)| sql.replace(from, to));
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}
