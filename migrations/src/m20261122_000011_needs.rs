//! What a flow version needs of its runtime.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

// Null: stored by a program that did not know of it; the version runs in the default runtime.
const STATEMENTS: &[&str] = &["ALTER TABLE flow_versions ADD COLUMN needs text"];
