//! Results of frozen components: the latest of each component and user.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

const STATEMENTS: &[&str] = &["CREATE TABLE frozen_results (
        tenant  {uuid} NOT NULL,
        flow    {uuid} NOT NULL,
        owner   {uuid} NOT NULL,
        node    text   NOT NULL,
        hash    text   NOT NULL,
        result  text   NOT NULL,
        created bigint NOT NULL,
        PRIMARY KEY (tenant, flow, owner, node),
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )"];
