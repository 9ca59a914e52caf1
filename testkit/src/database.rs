//! A database of its own for each test: an SQLite file, or a database on a private Postgres.
//!
//! The Postgres server is the one that `FLOWCELL_TEST_POSTGRES` names, or one that is started for
//! the test run and ends with it (see `database/server.rs`). A database is dropped with its value.

mod server;

use anyhow::Context;
use sea_orm::{ConnectOptions, ConnectionTrait};
use tempfile::TempDir;
use uuid::Uuid;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Kind {
    /// Every kind: what a compliance suite runs on.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

/// An empty database that goes when it is dropped.
#[derive(Debug)]
pub struct Database {
    url: String,
    kind: Kind,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(TempDir),
    Server { admin_url: String, name: String },
}

impl Database {
    /// A new empty database.
    ///
    /// # Errors
    /// When there is no place for the file, or no Postgres server can be reached or started.
    pub async fn new(kind: Kind) -> anyhow::Result<Self> {
        match kind {
            Kind::Sqlite => Self::sqlite(),
            Kind::Postgres => Self::postgres().await,
        }
    }

    /// A new SQLite file. The file itself is not made: that is the store's to do.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn sqlite() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for SQLite")?;
        let url = format!("sqlite://{}", directory.path().join("flowcell.db").display());
        Ok(Self { url, kind: Kind::Sqlite, place: Place::Directory(directory) })
    }

    /// A new database on the test run's Postgres server.
    ///
    /// # Errors
    /// When no server can be reached or started.
    pub async fn postgres() -> anyhow::Result<Self> {
        let admin_url = tokio::task::spawn_blocking(server::admin_url).await??;
        let name = format!("flowcell_test_{}", Uuid::new_v4().simple());
        execute(&admin_url, &format!("CREATE DATABASE {name}")).await?;
        let url = with_database(&admin_url, &name)?;
        Ok(Self { url, kind: Kind::Postgres, place: Place::Server { admin_url, name } })
    }

    /// The URL to connect to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the file of an SQLite database is.
    #[must_use]
    pub fn file(&self) -> Option<std::path::PathBuf> {
        match &self.place {
            Place::Directory(directory) => Some(directory.path().join("flowcell.db")),
            Place::Server { .. } => None,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Place::Server { admin_url, name } = &self.place else {
            return;
        };
        let (admin_url, sql) = (admin_url.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // A destructor cannot wait for a future of the runtime that may be running it.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(execute(&admin_url, &sql))
        });
        match dropped.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("could not drop the test database {name}: {error:#}"),
            Err(_) => eprintln!("could not drop the test database {name}"),
        }
    }
}

async fn execute(url: &str, sql: &str) -> anyhow::Result<()> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await.context("connecting to Postgres")?;
    let executed = connection.execute_unprepared(sql).await;
    connection.close().await?;
    executed.with_context(|| format!("executing {sql}"))?;
    Ok(())
}

/// The same server, another database.
fn with_database(admin_url: &str, name: &str) -> anyhow::Result<String> {
    let (address, parameters) = match admin_url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (admin_url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").context("the URL of Postgres has no scheme")?;
    let host = rest.split('/').next().unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_in_a_url_is_replaced() {
        let url = |admin| with_database(admin, "x").unwrap();
        assert_eq!(url("postgres://u@h:1/postgres"), "postgres://u@h:1/x");
        assert_eq!(url("postgres://u@h"), "postgres://u@h/x");
        assert_eq!(url("postgres://u@l/postgres?host=/tmp/a"), "postgres://u@l/x?host=/tmp/a");
    }

    #[tokio::test]
    async fn a_postgres_database_comes_and_goes() {
        let database = Database::postgres().await.unwrap();
        let url = database.url().to_owned();
        execute(&url, "CREATE TABLE t (id bigint)").await.unwrap();
        drop(database);
        assert!(execute(&url, "SELECT 1").await.is_err(), "the database is gone");
    }
}
