//! Uploaded files: those of a user and those of a flow.
//!
//! Their bytes have a table of their own instead of being payloads. Payloads are shared under
//! their hash and live as long as runs; a file is its owner's alone and goes, with its bytes, when
//! the owner says so. The bytes' key is renewed with every change, so that whoever is in the
//! middle of reading the old ones finds an end and never a mixture.

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
    // `namespace` is the id of the user or the flow; `flow` repeats it for files that go with
    // their flow.
    "CREATE TABLE files (
        id        {uuid}  NOT NULL PRIMARY KEY,
        tenant    {uuid}  NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        namespace {uuid}  NOT NULL,
        flow      {uuid},
        path_name text    NOT NULL,
        name      text    NOT NULL,
        listed    boolean NOT NULL,
        content   {uuid}  NOT NULL,
        length    bigint  NOT NULL,
        created   bigint  NOT NULL,
        updated   bigint  NOT NULL,
        UNIQUE (tenant, namespace, path_name),
        FOREIGN KEY (tenant, flow) REFERENCES flows (tenant, id) ON DELETE CASCADE
    )",
    "CREATE INDEX files_of_flow ON files (tenant, flow) WHERE flow IS NOT NULL",
    "CREATE TABLE file_chunks (
        file     {uuid}  NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        content  {uuid}  NOT NULL,
        position bigint  NOT NULL,
        bytes    {bytes} NOT NULL,
        PRIMARY KEY (file, content, position)
    )",
];
