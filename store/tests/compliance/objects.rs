//! Bodies of payloads in object storage: a folder, and a server that speaks S3.

use std::path::{Path, PathBuf};

use domain::id::RunId;
use domain::run::Command;
use domain::time::Timestamp;
use store::{Error, ObjectFault, Objects, PayloadStore, S3, Store};

use crate::fixture::{Fixture, Owner, T0, claim, finish, result, transition, worker};

on_both! {
    large_bodies_are_sealed_objects_and_small_ones_rows,
    an_object_that_cannot_be_read_names_run_and_object,
    what_is_in_the_database_stays_readable,
    objects_without_a_payload_are_deleted_and_no_others,
    an_upload_that_was_given_up_goes_into_the_database,
    a_bucket_does_what_a_folder_does,
}

const LARGE: usize = 100_000;

/// Later than anything that a test does.
const ALWAYS: Timestamp = Timestamp(i64::MAX);

struct Folder {
    dir: tempfile::TempDir,
    store: Store,
}

impl Folder {
    fn new(f: &Fixture) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(&PayloadStore::Folder(dir.path().join("payloads"))).unwrap();
        Self { store: f.store.clone().with_objects(objects), dir }
    }

    fn files(&self) -> Vec<PathBuf> {
        files(self.dir.path())
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A run whose first task has a result of so many bytes.
async fn done(f: &Fixture, store: &Store, owner: &Owner, bytes: usize) -> RunId {
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    commit_result(f, store, run, bytes).await.unwrap();
    run
}

async fn commit_result(f: &Fixture, store: &Store, run: RunId, bytes: usize) -> Result<(), Error> {
    let record = f.load(run).await;
    let decision = domain::run::decide(&record.run, &finish(0, worker(1)), T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.results = vec![result(0, bytes)];
    store.engine().commit(change).await
}

async fn read(store: &Store, run: RunId) -> Result<usize, Error> {
    let results = store.engine().results(run, &[0]).await?;
    assert!(results[&0] == result(0, LARGE).result);
    Ok(results.len())
}

async fn large_bodies_are_sealed_objects_and_small_ones_rows(f: &Fixture) {
    let (owner, folder) = (f.owner("a").await, Folder::new(f));
    let run = done(f, &folder.store, &owner, LARGE).await;
    let [file] = &folder.files()[..] else { panic!("{:?}", folder.files()) };
    let tenant = owner.tenant.id().to_string();
    assert!(file.to_str().unwrap().contains(&tenant), "{file:?}");
    let stored = std::fs::read(file).unwrap();
    assert!(stored.len() > LARGE && stored.len() < LARGE * 3);
    assert!(!stored.windows(4).any(|window| window == b"blob"), "it is sealed");
    assert_eq!(read(&folder.store, run).await.unwrap(), 1);

    done(f, &folder.store, &owner, LARGE).await;
    assert_eq!(folder.files().len(), 1, "what is there is not put again");
    folder.store.engine().archive_event_log(run, b"a short log").await.unwrap();
    assert_eq!(folder.files().len(), 1, "a short log is a row");
    let long = vec![b'x'; LARGE];
    let other = owner.submit().await;
    folder.store.engine().archive_event_log(other, &long).await.unwrap();
    assert_eq!(folder.files().len(), 2);
    let log = folder.store.tenant(owner.tenant.id()).event_log(other).await.unwrap();
    assert_eq!(log, Some(long));
    let stranger = f.owner("b").await;
    done(f, &folder.store, &stranger, LARGE).await;
    assert_eq!(folder.files().len(), 3, "tenants share nothing");
}

async fn an_object_that_cannot_be_read_names_run_and_object(f: &Fixture) {
    let (owner, folder) = (f.owner("a").await, Folder::new(f));
    let run = done(f, &folder.store, &owner, LARGE).await;
    let other = done(f, &folder.store, &owner, LARGE * 2).await;
    let stranger = f.owner("b").await;
    let theirs = done(f, &folder.store, &stranger, LARGE).await;
    let object = async |run: RunId| match f.store.engine().results(run, &[0]).await {
        Err(Error::PayloadUnreadable { object, fault: ObjectFault::NotConfigured, .. }) => object,
        other => panic!("{other:?}"),
    };
    let path = async |run: RunId| folder.dir.path().join("payloads").join(object(run).await);
    let expect = async |fault: ObjectFault| {
        let error = folder.store.engine().results(run, &[0]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&run.to_string()), "{text}");
        assert!(
            matches!(&error, Error::PayloadUnreadable { fault: found, .. } if *found == fault),
            "{text}"
        );
        assert!(!error.is_transient());
    };
    let own = path(run).await;
    let good = std::fs::read(&own).unwrap();
    for foreign in [path(other).await, path(theirs).await] {
        std::fs::copy(foreign, &own).unwrap();
        expect(ObjectFault::Damaged).await;
    }
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    std::fs::write(&own, flipped).unwrap();
    expect(ObjectFault::Damaged).await;
    std::fs::remove_file(&own).unwrap();
    expect(ObjectFault::Missing).await;
    std::fs::write(&own, good).unwrap();
    assert_eq!(read(&folder.store, run).await.unwrap(), 1, "restored");
}

async fn what_is_in_the_database_stays_readable(f: &Fixture) {
    let (owner, folder) = (f.owner("a").await, Folder::new(f));
    let before = done(f, &f.store, &owner, LARGE).await;
    let after = done(f, &folder.store, &owner, LARGE).await;
    assert!(files(folder.dir.path()).is_empty(), "the same body is stored already");
    for run in [before, after] {
        assert_eq!(read(&folder.store, run).await.unwrap(), 1);
    }
}

async fn objects_without_a_payload_are_deleted_and_no_others(f: &Fixture) {
    let (owner, folder) = (f.owner("a").await, Folder::new(f));
    let engine = folder.store.engine();
    let kept = done(f, &folder.store, &owner, LARGE).await;
    let gone = done(f, &folder.store, &owner, LARGE * 2).await;
    // A report that comes too late has put its result already.
    let refused = async {
        let record = f.load(kept).await;
        let mut change = transition(
            &record,
            &domain::run::decide(&record.run, &claim(1, worker(1)), T0).unwrap(),
            T0,
        );
        change.expected_version -= 1;
        change.results = vec![result(1, LARGE * 3)];
        engine.commit(change).await
    };
    assert!(matches!(refused.await, Err(Error::VersionConflict)));
    assert_eq!(folder.files().len(), 3);
    assert_eq!(engine.remove_objects(Timestamp(0), 10).await.unwrap(), 0, "none is old");
    assert_eq!(engine.remove_objects(ALWAYS, 10).await.unwrap(), 1, "the late one");
    assert_eq!(folder.files().len(), 2);

    f.step(gone, Command::Cancel, T0).await;
    let expired = store::Expired {
        tenant: owner.tenant.id(),
        ended_before: Timestamp(T0.millis() + 1),
        messages: false,
    };
    let removed = engine.remove_runs(&expired, 10).await.unwrap();
    let payloads = engine.remove_payloads(owner.tenant.id(), &removed.payloads, ALWAYS);
    assert_eq!((removed.runs, payloads.await.unwrap()), (1, 1));
    assert_eq!(folder.files().len(), 2, "whoever is about to read it still can");
    assert_eq!(
        f.store.engine().remove_objects(ALWAYS, 10).await.unwrap(),
        0,
        "no storage to look in"
    );
    assert_eq!(engine.remove_objects(ALWAYS, 10).await.unwrap(), 1);
    assert_eq!(engine.remove_objects(ALWAYS, 10).await.unwrap(), 0);
    assert_eq!(folder.files().len(), 1);
    assert_eq!(read(&folder.store, kept).await.unwrap(), 1);
    // The same body again is another object.
    done(f, &folder.store, &owner, LARGE * 2).await;
    assert_eq!(folder.files().len(), 2);
}

/// Uploads that take longer than anybody waits: every object is deleted as soon as it is loose.
async fn an_upload_that_was_given_up_goes_into_the_database(f: &Fixture) {
    let (owner, folder) = (f.owner("a").await, Folder::new(f));
    let stop = tokio_util::sync::CancellationToken::new();
    let write = async {
        let mut runs = Vec::new();
        for n in 0..20usize {
            runs.push(done(f, &folder.store, &owner, LARGE + n * 9).await);
        }
        stop.cancel();
        runs
    };
    let remove = async {
        let mut removed = 0;
        while !stop.is_cancelled() {
            removed += folder.store.engine().remove_objects(ALWAYS, 10).await.unwrap();
        }
        removed
    };
    let (runs, _) = futures::future::join(write, remove).await;
    for (n, run) in runs.into_iter().enumerate() {
        let results = folder.store.engine().results(run, &[0]).await.unwrap();
        assert!(results[&0] == result(0, LARGE + n * 9).result, "result {n}");
    }
}

async fn a_bucket_does_what_a_folder_does(f: &Fixture) {
    let server = testkit::s3::Server::start().await.unwrap();
    let s3 = S3 {
        bucket: "flowcell".into(),
        endpoint: Some(server.url()),
        region: "eu-central-1".into(),
        prefix: "some/where".into(),
        credentials_file: Some(server.credentials_file().unwrap()),
    };
    let objects = Objects::open(&PayloadStore::S3(s3)).unwrap();
    let (owner, bucket) = (f.owner("a").await, f.store.clone().with_objects(objects));
    let engine = bucket.engine();
    let run = done(f, &bucket, &owner, LARGE).await;
    assert_eq!(read(&bucket, run).await.unwrap(), 1);
    let nowhere = f.store.engine().results(run, &[0]).await;
    assert!(matches!(nowhere, Err(Error::PayloadUnreadable { .. })), "{nowhere:?}");
    f.step(run, Command::Cancel, T0).await;
    let tenant = owner.tenant.id();
    let ended_before = Timestamp(T0.millis() + 1);
    let expired = store::Expired { tenant, ended_before, messages: false };
    let removed = engine.remove_runs(&expired, 10).await.unwrap();
    engine.remove_payloads(tenant, &removed.payloads, ALWAYS).await.unwrap();
    assert_eq!(engine.remove_objects(ALWAYS, 10).await.unwrap(), 1);
    let again = done(f, &bucket, &owner, LARGE).await;
    assert_eq!(read(&bucket, again).await.unwrap(), 1);
    drop(server);
    let error = engine.results(again, &[0]).await.unwrap_err();
    assert!(matches!(error, Error::Objects { .. }) && error.is_transient(), "{error:?}");
    let fails = owner.submit().await;
    f.step(fails, Command::Start { skip: vec![] }, T0).await;
    f.step(fails, claim(0, worker(1)), T0).await;
    let error = commit_result(f, &bucket, fails, LARGE * 4).await.unwrap_err();
    assert!(matches!(error, Error::Objects { .. }), "{error:?}");
}
