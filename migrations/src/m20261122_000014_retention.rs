//! How long ended runs are kept, and who removes them.
//!
//! `payloads.touched` is when somebody last found the payload there instead of storing it; null in
//! rows that nobody found again, and what programs before this step leave.

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
    "ALTER TABLE payloads ADD COLUMN touched bigint",
    // Null: as the settings of the installation say.
    "CREATE TABLE tenant_retention (
        tenant    {uuid} NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
        runs_days bigint,
        messages  boolean,
        updated   bigint NOT NULL
    )",
    // Work that one scheduler does at a time: who, and until when the others leave it alone.
    "CREATE TABLE sweeps (
        name   text   NOT NULL PRIMARY KEY,
        holder {uuid} NOT NULL,
        until  bigint NOT NULL
    )",
    "CREATE INDEX runs_ended ON runs (tenant, ended) WHERE ended IS NOT NULL",
    // Lists by state: without it, the few failed runs among millions are looked for one by one.
    "CREATE INDEX runs_of_state ON runs (tenant, state, created, id)",
];
