//! Bodies of payloads in object storage.
//!
//! `payloads.object` is null where the body is in `payload_chunks`. A program from before this step
//! finds no chunks of the others, so object storage is set up once no such program is left.

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
    "ALTER TABLE payloads ADD COLUMN object {uuid}",
    // Objects that no payload refers to: uploads under way, and what is left of removed payloads.
    // A doomed one is about to be deleted. No foreign key: an object outlives its tenant's row.
    "CREATE TABLE loose_objects (
        object {uuid}  NOT NULL PRIMARY KEY,
        tenant {uuid}  NOT NULL,
        sha256 {bytes} NOT NULL,
        since  bigint  NOT NULL,
        doomed boolean NOT NULL
    )",
    "CREATE INDEX loose_objects_by_age ON loose_objects (since)",
];
