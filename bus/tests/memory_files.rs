//! What only the in-process bus has: files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

extern crate flowcell_bus as bus;

use bus::Error;
use bus::memory::Settings;
use bytes::Bytes;
use domain::id::RunId;
use uuid::Uuid;

fn entry(id: &str) -> Vec<(String, Bytes)> {
    vec![(id.to_owned(), Bytes::from(id.to_owned()))]
}

#[tokio::test]
async fn a_folder_has_one_bus() {
    let dir = tempfile::tempdir().unwrap();
    let first = bus::memory(Settings::new(dir.path())).await.unwrap();
    let second = bus::memory(Settings::new(dir.path())).await;
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    first.close().await;
    bus::memory(Settings::new(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunId(Uuid::now_v7());
    let bus = bus::memory(Settings::new(dir.path())).await.unwrap();
    bus.append(run, entry("a")).await.unwrap();
    bus.append(run, entry("b")).await.unwrap();
    bus.close().await;
    let file = dir.path().join(format!("{run}.log"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let bus = bus::memory(Settings::new(dir.path())).await.unwrap();
    let mut reader = bus.read(run, 1).await.unwrap();
    bus.append(run, entry("c")).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), (2, Bytes::from("c")));
    assert_eq!(bus.snapshot(run).await.unwrap(), ["a", "c"]);
    bus.forget(run).await.unwrap();
    assert!(!file.exists());
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn thousands_of_logs_need_few_files() {
    let dir = tempfile::tempdir().unwrap();
    let bus = bus::memory(Settings::new(dir.path())).await.unwrap();
    let runs: Vec<_> = (0..1500).map(|_| RunId(Uuid::now_v7())).collect();
    let mut readers = Vec::new();
    for run in &runs {
        bus.append(*run, entry("a")).await.unwrap();
        readers.push(bus.read(*run, 1).await.unwrap());
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 400, "{open} files are open");
    for (run, reader) in runs.iter().zip(&mut readers) {
        bus.append(*run, entry("a")).await.unwrap();
        bus.append(*run, entry("b")).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap(), (2, Bytes::from("b")));
    }
}
