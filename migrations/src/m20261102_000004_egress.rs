//! Egress rules for one node and for plain TCP; what each attempt connected to.
//!
//! A scheduler that does not know the column `node` yet applies such a rule to every cell of the
//! flow: add them once all schedulers are new.

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
    "ALTER TABLE egress_rules ADD COLUMN node text",
    "ALTER TABLE egress_rules ADD COLUMN tcp boolean NOT NULL DEFAULT false",
    "CREATE TABLE connections (
        run      {uuid} NOT NULL,
        task     bigint NOT NULL,
        attempt  bigint NOT NULL,
        revision bigint NOT NULL,
        log      text   NOT NULL,
        PRIMARY KEY (run, task, attempt),
        FOREIGN KEY (run, task, attempt) REFERENCES attempts (run, task, attempt) ON DELETE CASCADE
    )",
];
