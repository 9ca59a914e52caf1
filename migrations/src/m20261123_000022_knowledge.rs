//! Knowledge bases: what flows have taken up to look things up in.
//!
//! A base is its user's. Its chunks lie in segments, one for each time that an attempt adds some;
//! a segment says whose it is, so that a further attempt takes the place of a lost one.

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
    "CREATE TABLE knowledge_bases (
        id            {uuid} NOT NULL PRIMARY KEY,
        tenant        {uuid} NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        user_id       {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name          text   NOT NULL,
        configuration text   NOT NULL,
        figures       text   NOT NULL,
        created       bigint NOT NULL,
        updated       bigint NOT NULL,
        UNIQUE (tenant, user_id, name)
    )",
    // Without a reference to the run: what it has taken up stays when the run goes.
    "CREATE TABLE knowledge_segments (
        base     {uuid} NOT NULL REFERENCES knowledge_bases (id) ON DELETE CASCADE,
        position bigint NOT NULL,
        run      {uuid} NOT NULL,
        task     bigint NOT NULL,
        attempt  bigint NOT NULL,
        nth      bigint NOT NULL,
        length   bigint NOT NULL,
        chunks   text   NOT NULL,
        PRIMARY KEY (base, position),
        UNIQUE (base, run, task, attempt, nth)
    )",
];
