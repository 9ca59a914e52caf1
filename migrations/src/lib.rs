//! The database schema, step by step, for SQLite and Postgres.
//!
//! # Rules
//! - **A step is never edited once released**; a change is a new step.
//! - **Expand, deploy, contract.** While a cluster is upgraded, old and new programs use the same
//!   database. So a step may add a table, a nullable or defaulted column, or an index; it may not
//!   rename, retype or drop what the released program uses. Dropping comes in a later release,
//!   when no program that uses it is left. A program therefore accepts a schema that is newer than
//!   itself, and refuses one that is older.
//! - **There is no way down.** Going back is deploying the older program, which the rule above
//!   keeps working.
//! - Steps are plain SQL: what a database administrator reads is what runs. The few type names
//!   that differ between the databases are written in braces (see `ddl.rs`).

mod ddl;
mod m20261101_000001_identity;
mod m20261101_000002_flows;
mod m20261101_000003_runs;
mod m20261102_000004_egress;
mod m20261122_000004_limits;
mod m20261122_000005_files;
mod m20261122_000006_usage;
mod m20261122_000007_frozen;
mod m20261122_000008_replanned;
mod m20261122_000009_children;
mod m20261122_000010_human;
mod m20261122_000011_needs;
mod m20261122_000012_requirements;
mod m20261122_000013_admission;
mod m20261122_000014_retention;
mod m20261122_000015_objects;
mod m20261122_000017_ready_since;
mod m20261122_000018_terms;
mod m20261123_000019_flow_states;
mod m20261123_000020_rerun;
mod m20261123_000021_message_task;
mod m20261123_000022_knowledge;

use sea_orm_migration::prelude::*;

pub use sea_orm_migration::MigratorTrait;

/// The steps in order.
#[derive(Clone, Copy, Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261101_000001_identity::Migration),
            Box::new(m20261101_000002_flows::Migration),
            Box::new(m20261101_000003_runs::Migration),
            Box::new(m20261102_000004_egress::Migration),
            Box::new(m20261122_000004_limits::Migration),
            Box::new(m20261122_000005_files::Migration),
            Box::new(m20261122_000006_usage::Migration),
            Box::new(m20261122_000007_frozen::Migration),
            Box::new(m20261122_000008_replanned::Migration),
            Box::new(m20261122_000009_children::Migration),
            Box::new(m20261122_000010_human::Migration),
            Box::new(m20261122_000011_needs::Migration),
            Box::new(m20261122_000012_requirements::Migration),
            Box::new(m20261122_000013_admission::Migration),
            Box::new(m20261122_000014_retention::Migration),
            Box::new(m20261122_000015_objects::Migration),
            Box::new(m20261122_000017_ready_since::Migration),
            Box::new(m20261122_000018_terms::Migration),
            Box::new(m20261123_000019_flow_states::Migration),
            Box::new(m20261123_000020_rerun::Migration),
            Box::new(m20261123_000021_message_task::Migration),
            Box::new(m20261123_000022_knowledge::Migration),
        ]
    }
}

/// The names of the steps, in order: what the database must have seen.
#[must_use]
pub fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}
