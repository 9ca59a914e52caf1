//! Tenants, users, sessions, API keys, settings of the installation.

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
    "CREATE TABLE tenants (
        id          {uuid}  NOT NULL PRIMARY KEY,
        name        text    NOT NULL UNIQUE,
        data_key    {bytes} NOT NULL,
        created     bigint  NOT NULL
    )",
    "CREATE TABLE users (
        id           {uuid}  NOT NULL PRIMARY KEY,
        tenant       {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        username     text    NOT NULL UNIQUE,
        password     text    NOT NULL,
        is_superuser boolean NOT NULL,
        active       boolean NOT NULL,
        created      bigint  NOT NULL,
        last_login   bigint
    )",
    "CREATE INDEX users_of_tenant ON users (tenant, username)",
    "CREATE TABLE sessions (
        hash    {bytes} NOT NULL PRIMARY KEY,
        user_id {uuid}  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created bigint  NOT NULL,
        expires bigint  NOT NULL,
        revoked bigint
    )",
    "CREATE INDEX sessions_of_user ON sessions (user_id)",
    "CREATE INDEX sessions_by_expiry ON sessions (expires)",
    "CREATE TABLE api_keys (
        id        {uuid}  NOT NULL PRIMARY KEY,
        tenant    {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        user_id   {uuid}  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        prefix    text    NOT NULL,
        hash      {bytes} NOT NULL,
        name      text    NOT NULL,
        scopes    text    NOT NULL,
        created   bigint  NOT NULL,
        expires   bigint,
        revoked   bigint,
        last_used bigint
    )",
    "CREATE INDEX api_keys_by_prefix ON api_keys (prefix)",
    "CREATE INDEX api_keys_of_tenant ON api_keys (tenant, created)",
    "CREATE INDEX api_keys_of_user ON api_keys (user_id)",
    "CREATE TABLE settings (
        name    text    NOT NULL PRIMARY KEY,
        value   {bytes} NOT NULL,
        created bigint  NOT NULL
    )",
];
