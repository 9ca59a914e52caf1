//! Runs that wait for a person: what they ask, what was decided, and since when they wait.
//!
//! A question belongs to an attempt. A later one of the same id takes its place; the decision of
//! the earlier one goes with it.

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
    "ALTER TABLE runs ADD COLUMN suspended bigint",
    "ALTER TABLE tasks ADD COLUMN pauses bigint NOT NULL DEFAULT 0",
    "CREATE INDEX tasks_paused ON tasks (run) WHERE state = 'paused'",
    // `saved` is what the cell left behind for its next attempt, sealed; `card` the chat message
    // that shows the question.
    "CREATE TABLE human_requests (
        run        {uuid} NOT NULL,
        request_id text   NOT NULL,
        tenant     {uuid} NOT NULL,
        task       bigint NOT NULL,
        attempt    bigint NOT NULL,
        node       text   NOT NULL,
        request    text   NOT NULL,
        saved      {bytes},
        card       {uuid} NOT NULL,
        asked      bigint NOT NULL,
        decision   text,
        decided    bigint,
        PRIMARY KEY (run, request_id),
        FOREIGN KEY (run, task) REFERENCES tasks (run, position) ON DELETE CASCADE,
        FOREIGN KEY (tenant, saved) REFERENCES payloads (tenant, sha256)
    )",
    "CREATE INDEX human_requests_saved ON human_requests (tenant, saved) WHERE saved IS NOT NULL",
];
