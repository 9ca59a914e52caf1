//! What is set of the limits of cells, for a tenant and for a flow.
//!
//! Each column is a JSON object of the limits that are set; a program that knows fewer limits
//! passes over the others.

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
    "CREATE TABLE tenant_limits (
        tenant  {uuid} NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
        limits  text   NOT NULL,
        maximum text   NOT NULL,
        updated bigint NOT NULL
    )",
    "CREATE TABLE flow_limits (
        tenant  {uuid} NOT NULL,
        flow    {uuid} NOT NULL,
        limits  text   NOT NULL,
        updated bigint NOT NULL,
        PRIMARY KEY (tenant, flow),
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )",
];
