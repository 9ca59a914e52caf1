//! What the nodes of a result spent on models, so that it can be summed without reading results.
//!
//! The column is a JSON object by node; null where nothing was spent, and in rows of programs that
//! did not know it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

const STATEMENTS: &[&str] = &["ALTER TABLE results ADD COLUMN usage text"];
