//! Lists of a flow's runs in a state: without it they are looked for among all runs of the flow, or
//! among all runs in that state.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl::run(manager, STATEMENTS).await
    }
}

// Nearly all runs are completed, and the index by flow finds those.
const STATEMENTS: &[&str] = &["CREATE INDEX runs_of_flow_state ON runs \
     (tenant, flow, state, created, id) WHERE state <> 'completed'"];
