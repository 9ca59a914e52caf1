//! Since when a task may be taken: how long the oldest one waits is asked every few seconds, and
//! must cost the same however many tasks wait.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

// Null: never ready yet, or made ready by a program that did not know of it.
const STATEMENTS: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN ready_since bigint",
    "CREATE INDEX tasks_ready_since ON tasks (ready_since) WHERE state = 'ready'",
];
