//! Runs that take over the finished work of an earlier one, and runs that failed while nobody
//! waited for them.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

// No foreign key: a run outlives the deleted one that it took over from. `settled` is when a dead
// letter was run again or dismissed.
const STATEMENTS: &[&str] = &[
    "ALTER TABLE runs ADD COLUMN rerun_of {uuid}",
    "ALTER TABLE runs ADD COLUMN detached boolean NOT NULL DEFAULT false",
    "ALTER TABLE runs ADD COLUMN settled bigint",
    "CREATE INDEX runs_reruns ON runs (rerun_of) WHERE rerun_of IS NOT NULL",
    "CREATE INDEX runs_dead_letters ON runs (tenant, created, id) \
     WHERE detached AND settled IS NULL AND state IN ('failed', 'timed_out')",
];
