//! One log's file.
//!
//! A record is `u32` length of the entry, 8 bytes of the entry's SHA-256, the entry. A process
//! that was killed may leave half a record at the end; the next one cuts it off.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::lock;
use crate::entry::{self, Key};
use crate::{ENTRY_BYTES_MAX, Error, ID_BYTES_MAX};

const HEAD_BYTES: usize = 12;
const RECORD_BYTES_MAX: usize = HEAD_BYTES + 6 + ID_BYTES_MAX + ENTRY_BYTES_MAX;

/// Bytes read at once: many small entries, or a part of a large one.
const READ_BYTES: usize = 256 * 1024;

/// The offset of every so many entries is remembered, for readers that resume.
const MARK_EVERY: u64 = 64;

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes of complete records.
    pub(super) len: u64,
    /// Whether the log was forgotten.
    pub(super) gone: bool,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    /// Offset of a record.
    pub(super) offset: u64,
    /// Entries before it.
    pub(super) position: u64,
}

/// Records that were read together.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bodies: Vec<Bytes>,
    /// Where the next record begins.
    pub(super) end: u64,
}

/// The log of one run.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    files: Arc<Semaphore>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the file was scanned.
    scanned: bool,
    len: u64,
    count: u64,
    ids: HashSet<Key>,
    /// Offset of entries 1, 1 + `MARK_EVERY`, …
    marks: Vec<u64>,
    kept: Option<(Arc<File>, OwnedSemaphorePermit)>,
    gone: bool,
}

impl State {
    fn add(&mut self, key: Key, record_bytes: usize) {
        if self.count.is_multiple_of(MARK_EVERY) {
            self.marks.push(self.len);
        }
        self.ids.insert(key);
        self.count += 1;
        self.len += u64::try_from(record_bytes).unwrap_or(u64::MAX);
    }
}

impl Log {
    pub(super) fn new(path: PathBuf, files: Arc<Semaphore>) -> Self {
        Self {
            path,
            files,
            state: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::File { doing, path: self.path.clone(), source }
    }

    /// The file, kept open when few others are. `None` when it does not exist.
    fn file(&self, state: &mut State, create: bool) -> Result<Option<Arc<File>>, Error> {
        if let Some((file, _)) = &state.kept {
            return Ok(Some(Arc::clone(file)));
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).append(true).create(create).open(&self.path);
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("opening")(error)),
        };
        if let Ok(permit) = Arc::clone(&self.files).try_acquire_owned() {
            state.kept = Some((Arc::clone(&file), permit));
        }
        Ok(Some(file))
    }

    /// Finds out what the file holds, once.
    fn scan(&self, state: &mut State) -> Result<(), Error> {
        if state.scanned {
            return Ok(());
        }
        if let Some(file) = self.file(state, false)? {
            let end = file.metadata().map_err(self.failed("looking at"))?.len();
            while state.len < end {
                let records =
                    read_records(&file, state.len, end).map_err(self.failed("reading"))?;
                if records.is_empty() {
                    tracing::warn!(
                        file = %self.path.display(), bytes = end - state.len,
                        "cut off the end of an event log that was not written completely"
                    );
                    file.set_len(state.len).map_err(self.failed("cutting"))?;
                    break;
                }
                for record in records {
                    state.add(entry::key(&record.id), record.bytes);
                }
            }
        }
        state.scanned = true;
        self.publish(state);
        Ok(())
    }

    fn publish(&self, state: &State) {
        self.progress.send_replace(Progress { len: state.len, gone: state.gone });
    }

    pub(super) fn append(&self, entries: &[(String, Bytes)]) -> Result<(), Error> {
        let mut state = lock(&self.state);
        if state.gone {
            // Forgotten while this append was on its way: nobody wants it.
            return Ok(());
        }
        self.scan(&mut state)?;
        let mut out = Vec::new();
        let mut fresh: Vec<(Key, usize)> = Vec::new();
        let mut seen = HashSet::new();
        for (id, body) in entries {
            let key = entry::key(id.as_bytes());
            if state.ids.contains(&key) || !seen.insert(key) {
                continue;
            }
            let before = out.len();
            write_record(&mut out, id, body);
            fresh.push((key, out.len() - before));
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let file = self.file(&mut state, true)?.ok_or(Error::Closed)?;
        if let Err(source) = io::Write::write_all(&mut &*file, &out) {
            // Half a record must not stay in front of the next one.
            file.set_len(state.len).map_err(self.failed("cutting"))?;
            return Err(self.failed("appending to")(source));
        }
        for (key, bytes) in fresh {
            state.add(key, bytes);
        }
        self.publish(&state);
        Ok(())
    }

    /// Where to start reading what comes after this many entries.
    pub(super) fn start(&self, after: u64) -> Result<Start, Error> {
        let mut state = lock(&self.state);
        self.scan(&mut state)?;
        if after >= state.count {
            return Ok(Start { offset: state.len, position: state.count });
        }
        let mark = after / MARK_EVERY;
        let offset = usize::try_from(mark).ok().and_then(|mark| state.marks.get(mark));
        Ok(offset.map_or_else(Start::default, |offset| Start {
            offset: *offset,
            position: mark * MARK_EVERY,
        }))
    }

    pub(super) fn len(&self) -> Result<u64, Error> {
        let mut state = lock(&self.state);
        self.scan(&mut state)?;
        Ok(state.len)
    }

    /// Some records from `offset` on, at least one when there is one before `end`.
    pub(super) fn read_at(&self, offset: u64, end: u64) -> Result<Piece, Error> {
        let file = {
            let mut state = lock(&self.state);
            self.file(&mut state, false)?
        };
        let mut piece = Piece { bodies: Vec::new(), end };
        let Some(file) = file else {
            return Ok(piece); // Forgotten in between.
        };
        piece.end = offset;
        for record in read_records(&file, offset, end).map_err(self.failed("reading"))? {
            piece.end += u64::try_from(record.bytes).unwrap_or(u64::MAX);
            piece.bodies.push(record.body);
        }
        if piece.bodies.is_empty() {
            return Err(Error::Damaged {
                subject: self.path.display().to_string(),
                reason: "a record that was complete is not any more",
            });
        }
        Ok(piece)
    }

    pub(super) fn delete(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        state.gone = true;
        state.kept = None;
        self.publish(&state);
        delete(&self.path)
    }
}

/// Removes a log's file, if there is one.
fn delete(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { doing: "deleting", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

struct Record {
    id: Bytes,
    body: Bytes,
    bytes: usize,
}

fn write_record(out: &mut Vec<u8>, id: &str, body: &[u8]) {
    let mut entry = Vec::with_capacity(entry::len(id, body));
    entry::write(&mut entry, id, body);
    let length = u32::try_from(entry.len()).expect("an entry is at most 32 MiB and its id");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&entry::first::<8>(&entry::digest(&entry)));
    out.extend_from_slice(&entry);
}

/// The complete records at `offset`: as many as fit into one read, or one large one.
fn read_records(file: &File, offset: u64, end: u64) -> io::Result<Vec<Record>> {
    let available = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = read_exact_at(file, offset, available.min(READ_BYTES))?;
    if let Some(first) = record_len(&bytes)
        && first > bytes.len()
    {
        if first > available || first > RECORD_BYTES_MAX {
            return Ok(Vec::new());
        }
        bytes = read_exact_at(file, offset, first)?;
    }
    let mut records = Vec::new();
    while let Some(length) = record_len(&bytes)
        && length <= bytes.len()
    {
        let mut record = bytes.split_to(length);
        let sum = record.split_to(HEAD_BYTES).split_off(4);
        if entry::first::<8>(&entry::digest(&record)) != *sum {
            break;
        }
        let Some((id, body)) = entry::read(&mut record) else {
            break;
        };
        records.push(Record { id, body, bytes: length });
    }
    Ok(records)
}

fn record_len(bytes: &Bytes) -> Option<usize> {
    let mut head = bytes.clone();
    if head.len() < HEAD_BYTES {
        return None;
    }
    usize::try_from(head.get_u32_le()).ok()?.checked_add(HEAD_BYTES)
}

fn read_exact_at(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(Bytes::from(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(path: &Path) -> Log {
        Log::new(path.to_owned(), Arc::new(Semaphore::new(1)))
    }

    fn bodies(log: &Log) -> Vec<Bytes> {
        let len = log.len().unwrap();
        if len == 0 {
            return Vec::new();
        }
        log.read_at(0, len).unwrap().bodies
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_complete_entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole");
        let entries = [("a", "one"), ("b", "two"), ("c", "three")]
            .map(|(id, body)| (id.to_owned(), Bytes::from(body)));
        log(&path).append(&entries).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut complete = 0;
        for cut in 0..=whole.len() {
            let path = dir.path().join(format!("cut-{cut}"));
            std::fs::write(&path, &whole[..cut]).unwrap();
            let torn = log(&path);
            let now = bodies(&torn).len();
            assert!(now == complete || now == complete + 1, "cut at {cut}");
            complete = now;
            torn.append(&entries).unwrap();
            assert_eq!(bodies(&torn), ["one", "two", "three"], "cut at {cut}");
        }
        assert_eq!(complete, 3);
    }
}
