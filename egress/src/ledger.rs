//! What a cell connected to, as far as the proxy saw it: hosts, ports, bytes and times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::time::Timestamp;
use proto::connection::{Connection, ConnectionLog, ConnectionState};

/// Connections that are remembered of one attempt; more are only counted.
const ENTRIES_MAX: usize = 500;

/// The connections of one attempt.
#[derive(Debug, Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
    /// Grows with every beginning and end, so that a reader sees whether there is news.
    revision: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Arc<Entry>>,
    omitted: u64,
}

/// One connection, while it lasts and afterwards.
#[derive(Debug)]
pub(crate) struct Entry {
    at: Timestamp,
    since: Instant,
    host: String,
    port: u16,
    up: AtomicU64,
    down: AtomicU64,
    end: OnceLock<End>,
    revision: Arc<AtomicU64>,
}

#[derive(Debug)]
struct End {
    state: ConnectionState,
    reason: Option<String>,
    duration_ms: u64,
}

impl Ledger {
    /// What was asked for so far, in order.
    #[must_use]
    pub fn log(&self) -> ConnectionLog {
        // Before the entries: news that comes between is in the log, and in the next one again.
        let revision = self.revision();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        ConnectionLog {
            revision,
            entries: inner.entries.iter().map(|entry| entry.view()).collect(),
            omitted: inner.omitted,
        }
    }

    /// A number that is another one after every beginning and end of a connection; 0 before the
    /// first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn open(&self, host: &str, port: u16) -> Arc<Entry> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = Arc::new(Entry {
            at: Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
            since: Instant::now(),
            host: host.to_owned(),
            port,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            end: OnceLock::new(),
            revision: self.revision.clone(),
        });
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.entries.len() < ENTRIES_MAX {
            inner.entries.push(entry.clone());
        } else {
            inner.omitted = inner.omitted.saturating_add(1);
        }
        drop(inner);
        self.revision.fetch_add(1, Ordering::Release);
        entry
    }
}

impl Entry {
    pub(crate) fn sent(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes down how it ended; what is said first holds.
    pub(crate) fn end(&self, state: ConnectionState, reason: Option<String>) {
        let duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.end.set(End { state, reason, duration_ms }).is_ok() {
            self.revision.fetch_add(1, Ordering::Release);
        }
    }

    fn view(&self) -> Connection {
        let end = self.end.get();
        Connection {
            at: self.at,
            host: self.host.clone(),
            port: self.port,
            state: end.map_or(ConnectionState::Open, |end| end.state),
            reason: end.and_then(|end| end.reason.clone()),
            bytes_up: self.up.load(Ordering::Relaxed),
            bytes_down: self.down.load(Ordering::Relaxed),
            duration_ms: end.map(|end| end.duration_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_holds_and_the_list_is_bounded() {
        let ledger = Ledger::default();
        assert_eq!(ledger.revision(), 0);
        let entry = ledger.open("a.org", 443);
        entry.sent(3);
        entry.received(5);
        entry.end(ConnectionState::Cut, Some("limit".into()));
        entry.end(ConnectionState::Closed, None);
        assert_eq!(ledger.revision(), 2);
        for _ in 0..ENTRIES_MAX {
            ledger.open("b.org", 80);
        }
        let log = ledger.log();
        assert_eq!((log.entries.len(), log.omitted), (ENTRIES_MAX, 1));
        let first = &log.entries[0];
        assert_eq!((first.bytes_up, first.bytes_down), (3, 5));
        assert_eq!((first.state, first.reason.as_deref()), (ConnectionState::Cut, Some("limit")));
        assert!(first.duration_ms.is_some() && log.entries[1].duration_ms.is_none());
    }
}
