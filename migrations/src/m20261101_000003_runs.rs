//! Runs, tasks, attempts, results, the outbox, workers.
//!
//! The partial indexes are what the scheduler's sweeps look for; each covers only rows that are
//! waiting for something, so ended runs cost them nothing.

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
    "CREATE TABLE runs (
        id              {uuid}  NOT NULL PRIMARY KEY,
        tenant          {uuid}  NOT NULL,
        flow            {uuid}  NOT NULL,
        flow_name       text    NOT NULL,
        flow_version    {uuid}  NOT NULL,
        state           text    NOT NULL,
        version         bigint  NOT NULL,
        request         text    NOT NULL,
        fingerprint     {bytes} NOT NULL,
        session_id      text    NOT NULL,
        deadline        bigint  NOT NULL,
        retry           text    NOT NULL,
        limits          text    NOT NULL,
        isolation       text    NOT NULL,
        idempotency_key text,
        submitted_by    {uuid}  REFERENCES users (id) ON DELETE SET NULL,
        created         bigint  NOT NULL,
        started         bigint,
        ended           bigint,
        failure         text,
        operations      text,
        context         text,
        event_log       {bytes},
        UNIQUE (tenant, idempotency_key),
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE,
        FOREIGN KEY (flow, flow_version) REFERENCES flow_versions (flow, id) ON DELETE CASCADE,
        FOREIGN KEY (tenant, event_log) REFERENCES payloads (tenant, sha256)
    ) {often_updated}",
    "CREATE INDEX runs_of_tenant ON runs (tenant, created, id)",
    "CREATE INDEX runs_of_flow ON runs (tenant, flow, created, id)",
    "CREATE INDEX runs_of_version ON runs (flow, flow_version)",
    "CREATE INDEX runs_of_session ON runs (tenant, session_id, created, id)",
    "CREATE INDEX runs_of_user ON runs (submitted_by) WHERE submitted_by IS NOT NULL",
    "CREATE INDEX runs_with_log ON runs (tenant, event_log) WHERE event_log IS NOT NULL",
    "CREATE INDEX runs_queued ON runs (created) WHERE state = 'queued'",
    "CREATE INDEX runs_to_archive ON runs (ended) WHERE ended IS NOT NULL AND event_log IS NULL",
    "CREATE INDEX runs_open ON runs (deadline) WHERE ended IS NULL",
    "CREATE TABLE tasks (
        run          {uuid} NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        position     bigint NOT NULL,
        cell         text   NOT NULL,
        state        text   NOT NULL,
        depends_on   text   NOT NULL,
        attempt      bigint NOT NULL,
        dispatches   bigint NOT NULL,
        dispatched   bigint,
        not_before   bigint,
        lease_worker {uuid},
        lease_since  bigint,
        failure      text,
        PRIMARY KEY (run, position)
    ) {often_updated}",
    "CREATE INDEX tasks_ready ON tasks (run) WHERE state = 'ready'",
    "CREATE INDEX tasks_leased ON tasks (lease_worker) WHERE lease_worker IS NOT NULL",
    "CREATE TABLE attempts (
        run       {uuid} NOT NULL,
        task      bigint NOT NULL,
        attempt   bigint NOT NULL,
        worker    {uuid} NOT NULL,
        container text,
        leased    bigint NOT NULL,
        began     bigint,
        ended     bigint,
        outcome   text,
        failure   text,
        figures   text,
        PRIMARY KEY (run, task, attempt),
        FOREIGN KEY (run, task) REFERENCES tasks (run, position) ON DELETE CASCADE
    ) {often_updated}",
    // A result is either in the row or a payload, so that a task row stays small.
    "CREATE TABLE results (
        run     {uuid} NOT NULL,
        task    bigint NOT NULL,
        tenant  {uuid} NOT NULL,
        inline  text,
        payload {bytes},
        created bigint NOT NULL,
        PRIMARY KEY (run, task),
        FOREIGN KEY (run, task) REFERENCES tasks (run, position) ON DELETE CASCADE,
        FOREIGN KEY (tenant, payload) REFERENCES payloads (tenant, sha256),
        CHECK ((inline IS NULL) <> (payload IS NULL))
    )",
    "CREATE INDEX results_with_payload ON results (tenant, payload) WHERE payload IS NOT NULL",
    "CREATE TABLE outbox (
        id         {uuid}  NOT NULL PRIMARY KEY,
        queue      text    NOT NULL,
        message_id text    NOT NULL,
        body       {bytes} NOT NULL,
        created    bigint  NOT NULL,
        published  bigint
    ) {often_updated}",
    "CREATE INDEX outbox_unpublished ON outbox (created, id) WHERE published IS NULL",
    "CREATE INDEX outbox_published ON outbox (published) WHERE published IS NOT NULL",
    "CREATE TABLE workers (
        epoch       {uuid}  NOT NULL PRIMARY KEY,
        name        text    NOT NULL,
        slots       bigint  NOT NULL,
        lease_until bigint  NOT NULL,
        last_seen   bigint  NOT NULL,
        gone        boolean NOT NULL
    ) {often_updated}",
];
