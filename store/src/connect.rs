//! Opening a database.

mod postgres;
mod sqlite;

pub(crate) use postgres::try_lock_round;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::id::TenantId;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
};
use tokio_util::task::AbortOnDropHandle;

use crate::auth::{Auth, Passwords};
use crate::engine::Engine;
use crate::error::{Doing, Error};
use crate::objects::Objects;
use crate::seal::KeyEncryptionKey;
use crate::tenant::Tenant;
use crate::tenant::group::Group;

/// How often a step of the schema is tried that others keep from its tables, and how long it
/// leaves them alone in between: ten minutes in all.
const LOCK_TRIES_MAX: u32 = 600;
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Where the database is and how hard it may be used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite:///path/to/file.db` (also `sqlite:relative.db`) or `postgres://…`.
    pub url: String,
    /// Most connections. On Postgres 4 to 8 per scheduler give the highest throughput; on SQLite
    /// these are readers beside the one writer.
    pub connections_max: u32,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    objects: Option<Objects>,
}

struct Inner {
    /// Queries outside a transaction.
    read: DatabaseConnection,
    /// Transactions that write. On SQLite one connection, so that writers wait for each other in
    /// this queue and not in the database; on Postgres the same pool as `read`.
    write: DatabaseConnection,
    key: KeyEncryptionKey,
    passwords: Passwords,
    group: Group,
    /// Once current, always current: nothing takes a step back.
    current: AtomicBool,
    /// Reads the clock of Postgres for as long as this is open.
    _clock: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let backend = self.inner.read.get_database_backend();
        f.debug_struct("Store").field("backend", &backend).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a database; an SQLite file that does not exist is made, readable by its owner only.
    ///
    /// # Errors
    /// [`Error::Settings`], [`Error::File`], [`Error::Database`].
    pub async fn connect(settings: &Settings, key: KeyEncryptionKey) -> Result<Self, Error> {
        if settings.connections_max == 0 {
            return Err(Error::Settings("connections_max is zero".to_owned()));
        }
        let scheme = settings.url.split(':').next().unwrap_or_default();
        let (read, write, clock) = match scheme {
            "sqlite" => {
                let (read, write) = sqlite::open(settings).await?;
                (read, write, None)
            }
            "postgres" | "postgresql" => {
                let pool = postgres::open(settings).await?;
                let clock = postgres::follow_clock(pool.clone()).await?;
                (pool.clone(), pool, Some(clock))
            }
            _ => {
                let why = "the URL begins with neither sqlite: nor postgres:";
                return Err(Error::Settings(why.to_owned()));
            }
        };
        let (passwords, group) = (Passwords::default(), Group::default());
        let current = AtomicBool::new(false);
        let inner = Arc::new(Inner { read, write, key, passwords, group, current, _clock: clock });
        Ok(Self { inner, objects: None })
    }

    /// Puts bodies of payloads there from now on; without it they are put into the database.
    #[must_use]
    pub fn with_objects(self, objects: Option<Objects>) -> Self {
        Self { objects, ..self }
    }

    /// Brings the schema up to date. May run in several processes at once and again at any time.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.schema_is_current().await? {
            return Ok(());
        }
        let mut refused = 0;
        loop {
            match self.migrate_further().await {
                Ok(true) => return Ok(()),
                Ok(false) => refused = 0,
                // Somebody uses a table that the step changes.
                Err(error) if error.is_lock_refused() && refused < LOCK_TRIES_MAX => {
                    refused += 1;
                    tracing::info!(%error, "a step of the schema waits for others");
                    tokio::time::sleep(LOCK_AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies steps of the schema; tells whether none is left. On SQLite the write lock keeps
    /// others out, so all are one transaction. On Postgres that is an advisory lock, which ends
    /// with the transaction, and each step is one: its locks on tables keep running programs out,
    /// and those of several steps together could wait for them in a circle.
    async fn migrate_further(&self) -> Result<bool, Error> {
        const DOING: &str = "migrating the schema";
        let tx = self.begin(DOING).await?;
        let steps = self.is_postgres().then_some(1);
        if steps.is_some() {
            postgres::lock_schema(&tx).await.doing(DOING)?;
        }
        // Somebody else may have been first.
        let done = migrated(&tx).await?;
        if !done {
            let up = <migrations::Migrator as migrations::MigratorTrait>::up(&tx, steps);
            Box::pin(up).await.doing(DOING)?;
        }
        tx.commit().await.doing(DOING)?;
        Ok(done || steps.is_none())
    }

    /// Whether every step of the schema that this program knows has been applied. Further steps of
    /// a newer program do not matter: each step works with the program before it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn schema_is_current(&self) -> Result<bool, Error> {
        if self.inner.current.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let current = migrated(self.read()).await?;
        self.inner.current.store(current, Ordering::Relaxed);
        Ok(current)
    }

    /// Whether the store can serve: reachable, current, and made with this key-encryption key.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::SchemaNotCurrent`], [`Error::WrongKey`].
    pub async fn check(&self) -> Result<(), Error> {
        if !self.schema_is_current().await? {
            return Err(Error::SchemaNotCurrent);
        }
        self.check_key(self.read()).await.map(drop)
    }

    /// Closes all connections once their calls are over; later calls fail.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn close(&self) -> Result<(), Error> {
        const DOING: &str = "closing the database";
        self.inner.read.close_by_ref().await.doing(DOING)?;
        self.inner.write.close_by_ref().await.doing(DOING)
    }

    /// The rows of one tenant.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Tenant {
        Tenant { store: self.clone(), id }
    }

    /// Identities.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth { store: self.clone() }
    }

    /// The scheduler's view.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine { store: self.clone() }
    }

    /// For queries that need no transaction.
    pub(crate) fn read(&self) -> &DatabaseConnection {
        &self.inner.read
    }

    /// Begins a transaction that writes; dropping it undoes it. Whoever holds one must not begin
    /// another: on SQLite it would wait for itself.
    pub(crate) async fn begin(&self, doing: &'static str) -> Result<DatabaseTransaction, Error> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.inner.write.begin_with_options(options).await.doing(doing)
    }

    pub(crate) fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    pub(crate) fn key(&self) -> &KeyEncryptionKey {
        &self.inner.key
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn group(&self) -> &Group {
        &self.inner.group
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.inner.read.get_database_backend() == DbBackend::Postgres
    }
}

/// Whether the database has seen every step that this program knows.
async fn migrated<C: ConnectionTrait>(connection: &C) -> Result<bool, Error> {
    const DOING: &str = "reading the schema's version";
    let backend = connection.get_database_backend();
    let catalogue = match backend {
        DbBackend::Postgres => {
            "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass('seaql_migrations')"
        }
        _ => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'",
    };
    let statement = Statement::from_string(backend, catalogue);
    if connection.query_one_raw(statement).await.doing(DOING)?.is_none() {
        return Ok(false);
    }
    let statement = Statement::from_string(backend, "SELECT version FROM seaql_migrations");
    let rows = connection.query_all_raw(statement).await.doing(DOING)?;
    let applied: Vec<String> =
        rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>().doing(DOING)?;
    Ok(migrations::names().iter().all(|name| applied.contains(name)))
}
