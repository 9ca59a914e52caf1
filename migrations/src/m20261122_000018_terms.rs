//! Tasks that go to a pool of their own, or are retried otherwise than the rest of their run.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

// Null: as for the run.
const STATEMENTS: &[&str] =
    &["ALTER TABLE tasks ADD COLUMN pool text", "ALTER TABLE tasks ADD COLUMN retry text"];
