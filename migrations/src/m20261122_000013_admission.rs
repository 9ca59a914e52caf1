//! What admission looks at: who waits for which queue, who holds its slots, who had how much.

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
    // An empty pool is the schedulers' own.
    "ALTER TABLE runs ADD COLUMN pool text NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN priority bigint NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN not_before bigint",
    "ALTER TABLE runs ADD COLUMN api_key {uuid}",
    "ALTER TABLE runs ADD COLUMN concurrency_key text",
    "ALTER TABLE runs ADD COLUMN concurrency_max bigint",
    "CREATE INDEX runs_backlog ON runs (pool, tenant, priority DESC, created, id)
        WHERE state = 'queued' AND not_before IS NULL",
    "CREATE INDEX runs_delayed ON runs (not_before)
        WHERE state = 'queued' AND not_before IS NOT NULL",
    "CREATE INDEX runs_started ON runs (tenant, flow) WHERE state = 'running'",
    "CREATE INDEX runs_waiting ON runs (tenant) WHERE state = 'queued'",
    // Written by the scheduler that makes a task ready. Those of a program that knew no admission
    // are null: it offered them itself.
    "ALTER TABLE tasks ADD COLUMN queue text",
    "ALTER TABLE tasks ADD COLUMN tenant {uuid}",
    "ALTER TABLE tasks ADD COLUMN priority bigint NOT NULL DEFAULT 0",
    "CREATE INDEX tasks_backlog ON tasks (queue, tenant, priority DESC, run, position)
        WHERE state = 'ready' AND dispatched IS NULL",
    "CREATE INDEX tasks_offered ON tasks (dispatched)
        WHERE state = 'ready' AND dispatched IS NOT NULL",
    "CREATE INDEX tasks_held ON tasks (queue, tenant)
        WHERE state IN ('leased', 'running') OR (state = 'ready' AND dispatched IS NOT NULL)",
    "ALTER TABLE workers ADD COLUMN pool text",
    "ALTER TABLE tenant_limits ADD COLUMN admission text",
    "ALTER TABLE flow_limits ADD COLUMN admission text",
    "ALTER TABLE api_keys ADD COLUMN runs_max bigint",
    "CREATE TABLE queues (
        name    text   NOT NULL PRIMARY KEY,
        round   bigint NOT NULL,
        present bigint NOT NULL
    ) {often_updated}",
    "CREATE TABLE queue_shares (
        queue        text   NOT NULL,
        tenant       {uuid} NOT NULL,
        virtual_time bigint NOT NULL,
        PRIMARY KEY (queue, tenant)
    ) {often_updated}",
    // When the next run of a tenant with a rate limit would be due at an even pace.
    "CREATE TABLE run_rates (
        tenant {uuid} NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
        due    bigint NOT NULL
    ) {often_updated}",
];
