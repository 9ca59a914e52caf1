//! Outputs that proved to be live: the plans of runs that met one, and what to expect of the code
//! of a tenant's components.
//!
//! `runs.plan` is null while the run follows its version's plan. `live_outputs.code` is the SHA-256
//! of a component's code.

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
    "ALTER TABLE runs ADD COLUMN plan text",
    "CREATE TABLE live_outputs (
        tenant     {uuid} NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        code       text   NOT NULL,
        output     text   NOT NULL,
        value_type text   NOT NULL,
        created    bigint NOT NULL,
        PRIMARY KEY (tenant, code, output)
    )",
];
