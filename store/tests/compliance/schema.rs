//! Opening and migrating a database.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use migrations::MigratorTrait;
use sea_orm::{ConnectionTrait, TransactionTrait};
use store::seal::KeyEncryptionKey;
use store::{Error, Settings, Store};
use testkit::database::{Database, Kind};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, settings};

on_both! {
    migrating_again_changes_nothing,
    a_newer_schema_is_current,
}

async fn migrating_again_changes_nothing(f: &Fixture) {
    f.store.create_tenant("a").await.unwrap();
    f.store.migrate().await.unwrap();
    let other = f.another_process().await;
    assert!(other.schema_is_current().await.unwrap());
    other.migrate().await.unwrap();
    assert_eq!(other.tenants().await.unwrap().len(), 1);
    other.close().await.unwrap();
}

async fn a_newer_schema_is_current(f: &Fixture) {
    let connection = sea_orm::Database::connect(f.database.url()).await.unwrap();
    let sql = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 1)";
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
    let other = f.another_process().await;
    assert!(other.schema_is_current().await.unwrap());
    other.migrate().await.unwrap();
    other.check().await.unwrap();
    other.close().await.unwrap();
}

async fn processes_migrate_at_once(kind: Kind) {
    let database = Database::new(kind).await.unwrap();
    let key = KeyEncryptionKey::generate();
    let starts = (0..8).map(|_| {
        let (settings, key) = (settings(&database), key.clone());
        tokio::spawn(async move {
            let store = Store::connect(&settings, key).await.unwrap();
            store.migrate().await.unwrap();
            store.check().await.unwrap();
            store.close().await.unwrap();
        })
    });
    for start in futures::future::join_all(starts).await {
        start.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_migrate_sqlite_at_once() {
    processes_migrate_at_once(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_migrate_postgres_at_once() {
    processes_migrate_at_once(Kind::Postgres).await;
}

/// Transactions of two tables, one after the other, as those of a program of before.
async fn use_tables(url: String, tables: [&str; 2], stop: CancellationToken) -> u32 {
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let mut done = 0;
    while !stop.is_cancelled() {
        let tx = connection.begin().await.unwrap();
        // As every connection of ours.
        tx.execute_unprepared("SET LOCAL lock_timeout = '5s'").await.unwrap();
        for table in tables {
            let sql = format!("UPDATE {table} SET tenant = tenant WHERE false");
            tx.execute_unprepared(&sql).await.unwrap();
        }
        tx.commit().await.unwrap();
        done += 1;
    }
    connection.close().await.unwrap();
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_migrated_beside_programs_that_use_it() {
    let database = Database::new(Kind::Postgres).await.unwrap();
    let connection = sea_orm::Database::connect(database.url()).await.unwrap();
    migrations::Migrator::up(&connection, Some(3)).await.unwrap();
    let stop = CancellationToken::new();
    let orders = [["runs", "messages"], ["messages", "runs"], ["flows", "runs"]];
    let users = orders
        .map(|tables| tokio::spawn(use_tables(database.url().to_owned(), tables, stop.clone())));
    // A backup, say: it keeps steps from its tables for longer than a transaction may wait.
    let backup = connection.begin().await.unwrap();
    backup.execute_unprepared("SELECT count(*) FROM runs").await.unwrap();
    let reading = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        backup.commit().await.unwrap();
    });
    let store = Store::connect(&settings(&database), KeyEncryptionKey::generate()).await.unwrap();
    store.migrate().await.unwrap();
    assert!(reading.is_finished(), "it was in nobody's way");
    store.check().await.unwrap();
    stop.cancel();
    for user in users {
        assert!(user.await.unwrap() > 0, "all its transactions were done");
    }
    store.close().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_is_a_passing_trouble() {
    let url = "postgres://nobody@127.0.0.1:1/none".to_owned();
    let settings = Settings { url, connections_max: 1 };
    let refused = Store::connect(&settings, KeyEncryptionKey::generate()).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_word_is_a_passing_trouble() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/none", server.local_addr().unwrap());
    let breaking = tokio::spawn(async move {
        loop {
            let (mut client, _) = server.accept().await.unwrap();
            // A proxy whose other side is gone ends like this.
            tokio::io::AsyncWriteExt::write_all(&mut client, &[0]).await.unwrap();
        }
    });
    let settings = Settings { url, connections_max: 1 };
    let broken = Store::connect(&settings, KeyEncryptionKey::generate()).await.unwrap_err();
    assert!(broken.is_transient(), "{broken:?}");
    breaking.abort();
}

#[tokio::test]
async fn an_empty_database_is_not_current() {
    for kind in Kind::ALL {
        let database = Database::new(kind).await.unwrap();
        let store =
            Store::connect(&settings(&database), KeyEncryptionKey::generate()).await.unwrap();
        assert!(!store.schema_is_current().await.unwrap());
        assert!(matches!(store.check().await, Err(Error::SchemaNotCurrent)));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_file_is_private() {
    let database = Database::new(Kind::Sqlite).await.unwrap();
    let path = database.file().unwrap();
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::connect(&settings(&database), KeyEncryptionKey::generate()).await.unwrap();
    store.migrate().await.unwrap();
    store.create_tenant("a").await.unwrap();
    let mut modes = Vec::new();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        modes.push(file.unwrap().metadata().unwrap().mode() & 0o777);
    }
    assert_eq!(modes, [0o600; 3], "the database, its log, and the log's index");
    store.close().await.unwrap();
}

#[tokio::test]
async fn unusable_settings_are_refused() {
    for url in ["mysql://h/d", "nonsense", "sqlite::memory:", "sqlite://x?mode=memory"] {
        let settings = Settings { url: url.into(), connections_max: 1 };
        let refused = Store::connect(&settings, KeyEncryptionKey::generate()).await;
        assert!(matches!(refused, Err(Error::Settings(_))), "{url}: {refused:?}");
    }
    let settings = Settings { url: "sqlite:///nowhere/at/all.db".into(), connections_max: 1 };
    let refused = Store::connect(&settings, KeyEncryptionKey::generate()).await;
    assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}");
    let settings = Settings { url: "sqlite:x.db".into(), connections_max: 0 };
    let refused = Store::connect(&settings, KeyEncryptionKey::generate()).await;
    assert!(matches!(refused, Err(Error::Settings(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_readers_of_one_file_never_meet_a_busy_database() {
    let f = Fixture::new(Kind::Sqlite).await;
    let owner = f.owner("a").await;
    let other = f.another_process().await;
    let work = (0..100usize).map(|n| {
        let store = if n % 2 == 0 { f.store.clone() } else { other.clone() };
        let tenant = store.tenant(owner.tenant.id());
        let new = owner.new_run();
        tokio::spawn(async move {
            let run = tenant.submit(new).await.unwrap().run;
            tenant.run(run).await.unwrap();
        })
    });
    for done in futures::future::join_all(work).await {
        done.unwrap();
    }
    other.close().await.unwrap();
    f.close().await;
}
