//! Runs that a component of another run started.
//!
//! A child is found again by what asked for it: the parent's task, what was asked (a digest), and
//! how often the same had been asked before. The attempt is part of the key, so that a later one
//! may ask anew for what did not succeed. No foreign key: a child outlives a deleted parent.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

const STATEMENTS: &[&str] = &[
    "ALTER TABLE runs ADD COLUMN parent_run {uuid}",
    "ALTER TABLE runs ADD COLUMN parent_task bigint",
    "ALTER TABLE runs ADD COLUMN parent_attempt bigint",
    "ALTER TABLE runs ADD COLUMN parent_call text",
    "ALTER TABLE runs ADD COLUMN depth bigint",
    "CREATE UNIQUE INDEX runs_children ON runs (parent_run, parent_task, parent_call, \
     parent_attempt) WHERE parent_run IS NOT NULL",
    "CREATE INDEX runs_open_children ON runs (parent_run) \
     WHERE parent_run IS NOT NULL AND ended IS NULL",
];
