//! What every database must do alike: each case runs on SQLite and on Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking; clippy only knows that of functions marked as tests"
)]

extern crate flowcell_store as store;

/// Runs each case on each kind of database, with a database of its own.
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = crate::fixture::Fixture::new(testkit::database::Kind::Sqlite).await;
                super::$case(&fixture).await;
                fixture.close().await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = crate::fixture::Fixture::new(testkit::database::Kind::Postgres).await;
                super::$case(&fixture).await;
                fixture.close().await;
            })+
        }
    };
}

mod admission;
mod children;
mod connections;
mod figures;
mod files;
mod fixture;
mod flows;
mod frozen;
mod human;
mod identity;
mod intake;
mod isolation;
mod knowledge;
mod limits;
mod messages;
mod objects;
mod rate;
mod rerun;
mod retention;
mod schema;
mod sweeps;
mod transitions;
mod variables;
mod walk;
