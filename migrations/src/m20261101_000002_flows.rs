//! Projects, flows and their versions, variables, chat messages, egress rules, payloads.
//!
//! A reference to a flow or project names the tenant too, so that the database itself refuses a
//! row of one tenant that points at another's.

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
    "CREATE TABLE projects (
        id          {uuid} NOT NULL PRIMARY KEY,
        tenant      {uuid} NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        name        text   NOT NULL,
        description text,
        created     bigint NOT NULL,
        UNIQUE (tenant, id),
        UNIQUE (tenant, name)
    )",
    // `current_version` has no foreign key: versions refer to flows already.
    "CREATE TABLE flows (
        id              {uuid} NOT NULL PRIMARY KEY,
        tenant          {uuid} NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        project         {uuid} NOT NULL,
        owner           {uuid} REFERENCES users (id) ON DELETE SET NULL,
        name            text   NOT NULL,
        endpoint_name   text,
        description     text,
        icon            text,
        tags            text   NOT NULL,
        data            text   NOT NULL,
        export          text   NOT NULL,
        current_version {uuid},
        created         bigint NOT NULL,
        updated         bigint NOT NULL,
        UNIQUE (tenant, id),
        UNIQUE (tenant, name),
        UNIQUE (tenant, endpoint_name),
        FOREIGN KEY (tenant, project) REFERENCES projects (tenant, id)
    )",
    "CREATE INDEX flows_of_project ON flows (tenant, project)",
    "CREATE INDEX flows_of_owner ON flows (owner) WHERE owner IS NOT NULL",
    "CREATE TABLE flow_versions (
        id      {uuid}  NOT NULL PRIMARY KEY,
        tenant  {uuid}  NOT NULL,
        flow    {uuid}  NOT NULL,
        sha256  {bytes} NOT NULL,
        data    text    NOT NULL,
        plan    text    NOT NULL,
        created bigint  NOT NULL,
        UNIQUE (flow, sha256),
        UNIQUE (flow, id),
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )",
    "CREATE TABLE variables (
        id             {uuid}  NOT NULL PRIMARY KEY,
        tenant         {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        name           text    NOT NULL,
        kind           text    NOT NULL,
        sealed         {bytes} NOT NULL,
        default_fields text    NOT NULL,
        created        bigint  NOT NULL,
        updated        bigint  NOT NULL,
        UNIQUE (tenant, name)
    )",
    // `arrival` is a time-ordered UUID: it orders messages of the same millisecond.
    "CREATE TABLE messages (
        id          {uuid} NOT NULL PRIMARY KEY,
        tenant      {uuid} NOT NULL,
        flow        {uuid} NOT NULL,
        session_id  text   NOT NULL,
        run         {uuid},
        sender      text   NOT NULL,
        sender_name text   NOT NULL,
        said        bigint NOT NULL,
        arrival     {uuid} NOT NULL,
        data        text   NOT NULL,
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )",
    "CREATE INDEX messages_of_flow ON messages (tenant, flow, session_id, said, arrival)",
    "CREATE INDEX messages_of_session ON messages (tenant, session_id, said, arrival)",
    "CREATE INDEX messages_of_run ON messages (tenant, run) WHERE run IS NOT NULL",
    "CREATE TABLE egress_rules (
        id      {uuid}  NOT NULL PRIMARY KEY,
        tenant  {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        flow    {uuid},
        host    text    NOT NULL,
        port    bigint  NOT NULL,
        private boolean NOT NULL,
        created bigint  NOT NULL,
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )",
    "CREATE INDEX egress_rules_of_tenant ON egress_rules (tenant, flow)",
    "CREATE TABLE payloads (
        tenant  {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        sha256  {bytes} NOT NULL,
        length  bigint  NOT NULL,
        created bigint  NOT NULL,
        PRIMARY KEY (tenant, sha256)
    )",
    "CREATE TABLE payload_chunks (
        tenant   {uuid}  NOT NULL,
        sha256   {bytes} NOT NULL,
        position bigint  NOT NULL,
        bytes    {bytes} NOT NULL,
        PRIMARY KEY (tenant, sha256, position),
        FOREIGN KEY (tenant, sha256) REFERENCES payloads (tenant, sha256) ON DELETE CASCADE
    )",
];
