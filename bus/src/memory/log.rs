//! Event logs in files: one append-only file per run, read by anyone at their own pace.
//!
//! A write is complete when it is in the page cache: it survives the process, not the machine.
//! That is as much as the database needs, which is the truth.

mod file;
mod reader;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use domain::id::RunId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use reader::EventReader;

use super::lock;
use crate::{Error, SNAPSHOT_BYTES_MAX};
use file::Log;

/// Files that stay open between two uses; with more, a file is opened for each use.
const FILES_OPEN_MAX: usize = 256;

/// Logs whose ids stay in memory while nobody uses them; others are scanned again.
const LOGS_IDLE_MAX: usize = 512;

/// All logs of a folder.
#[derive(Debug)]
pub(super) struct Logs {
    dir: PathBuf,
    /// Holds the folder's lock.
    guard: Mutex<Option<std::fs::File>>,
    table: Mutex<Table>,
    files: Arc<Semaphore>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    logs: HashMap<RunId, Arc<Log>>,
    /// Oldest first.
    order: VecDeque<RunId>,
}

impl Table {
    /// Lets go of logs that nobody uses. One in use has another holder, and is kept: two states
    /// of one log would write over each other.
    fn trim(&mut self) {
        for _ in 0..self.order.len() {
            if self.logs.len() <= LOGS_IDLE_MAX {
                return;
            }
            let Some(run) = self.order.pop_front() else {
                return;
            };
            match self.logs.get(&run) {
                Some(log) if Arc::strong_count(log) > 1 => self.order.push_back(run),
                Some(_) => {
                    self.logs.remove(&run);
                }
                None => {}
            }
        }
    }
}

impl Logs {
    pub(super) async fn open(dir: PathBuf, closed: CancellationToken) -> Result<Self, Error> {
        let folder = dir.clone();
        let guard = blocking(move || lock_folder(&folder)).await?;
        Ok(Self {
            dir,
            guard: Mutex::new(Some(guard)),
            table: Mutex::default(),
            files: Arc::new(Semaphore::new(FILES_OPEN_MAX)),
            closed,
        })
    }

    fn log(&self, run: RunId) -> Arc<Log> {
        let mut table = lock(&self.table);
        if let Some(log) = table.logs.get(&run) {
            return Arc::clone(log);
        }
        table.trim();
        let path = self.dir.join(format!("{run}.log"));
        let log = Arc::new(Log::new(path, Arc::clone(&self.files)));
        table.logs.insert(run, Arc::clone(&log));
        table.order.push_back(run);
        log
    }

    pub(super) async fn append(
        &self,
        run: RunId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), Error> {
        let log = self.log(run);
        blocking(move || log.append(&entries)).await
    }

    pub(super) async fn read(&self, run: RunId, after: u64) -> Result<EventReader, Error> {
        let log = self.log(run);
        let opened = Arc::clone(&log);
        let start = blocking(move || opened.start(after)).await?;
        Ok(EventReader::new(log, start, after, self.closed.clone()))
    }

    pub(super) async fn snapshot(&self, run: RunId) -> Result<Vec<Bytes>, Error> {
        let log = self.log(run);
        let opened = Arc::clone(&log);
        let len = blocking(move || opened.len()).await?;
        let bytes = usize::try_from(len).unwrap_or(usize::MAX);
        if bytes > SNAPSHOT_BYTES_MAX {
            return Err(Error::TooLarge {
                subject: format!("a snapshot of {run}"),
                bytes,
                bytes_max: SNAPSHOT_BYTES_MAX,
            });
        }
        let mut entries = Vec::new();
        let mut offset = 0;
        while offset < len {
            let log = Arc::clone(&log);
            let piece = blocking(move || log.read_at(offset, len)).await?;
            offset = piece.end;
            entries.extend(piece.bodies);
        }
        Ok(entries)
    }

    /// The log stays in the table until its file is gone, so that no second state of it comes up
    /// in between.
    pub(super) async fn forget(&self, run: RunId) -> Result<(), Error> {
        let log = self.log(run);
        let deleted = Arc::clone(&log);
        blocking(move || deleted.delete()).await?;
        let mut table = lock(&self.table);
        if table.logs.get(&run).is_some_and(|kept| Arc::ptr_eq(kept, &log)) {
            table.order.retain(|other| *other != run);
            table.logs.remove(&run);
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        *lock(&self.table) = Table::default();
        *lock(&self.guard) = None;
    }
}

fn lock_folder(dir: &Path) -> Result<std::fs::File, Error> {
    std::fs::create_dir_all(dir).map_err(|source| Error::File {
        doing: "making the folder",
        path: dir.to_owned(),
        source,
    })?;
    let path = dir.join(".lock");
    let failed = |source| Error::File { doing: "locking", path: path.clone(), source };
    let mut options = std::fs::OpenOptions::new();
    let guard = options.create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match guard.try_lock() {
        Ok(()) => Ok(guard),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Runs file work where it may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime ends, or the work panicked, which the lints forbid.
        Err(_) => Err(Error::Closed),
    }
}
