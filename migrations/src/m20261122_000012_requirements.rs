//! Packages that flows list, and what became of the images with them.

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
    "ALTER TABLE flows ADD COLUMN requirements text",
    // `lock` is what the requirements were resolved to first, and stays.
    "CREATE TABLE runtime_builds (
        tenant  {uuid} NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        image   text   NOT NULL,
        state   text   NOT NULL,
        detail  text   NOT NULL,
        lock    text,
        created bigint NOT NULL,
        updated bigint NOT NULL,
        PRIMARY KEY (tenant, image)
    )",
];
