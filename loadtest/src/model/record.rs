//! What the server was asked: a ring bounded in entries and bytes, which counts what it drops.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

/// All recorded bodies together; a load test with large prompts must not fill the memory.
const RECORDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The ring.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Instant,
    entries_max: usize,
    ring: Mutex<Ring>,
}

/// One request.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// Counts requests from 1 since the start or the latest clearing; dropped ones are the lowest.
    pub(crate) sequence: u64,
    /// Milliseconds since the server started.
    pub(crate) at_ms: u64,
    pub(crate) path: &'static str,
    /// The rule which answered, none for the default reply.
    pub(crate) rule: Option<String>,
    pub(crate) body: Value,
    #[serde(skip)]
    body_bytes: usize,
}

/// `GET /recorded`.
#[derive(Debug, Serialize)]
pub(crate) struct Recorded {
    pub(crate) dropped: u64,
    pub(crate) requests: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    seen: u64,
    dropped: u64,
}

impl Recorder {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { started: Instant::now(), entries_max, ring: Mutex::default() }
    }

    pub(crate) fn record(
        &self,
        path: &'static str,
        rule: Option<String>,
        body: Value,
        body_bytes: usize,
    ) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut ring = self.lock();
        ring.seen += 1;
        ring.bytes += body_bytes;
        let sequence = ring.seen;
        ring.entries.push_back(Entry { sequence, at_ms, path, rule, body, body_bytes });
        while ring.entries.len() > self.entries_max || ring.bytes > RECORDED_BYTES_MAX {
            let Some(oldest) = ring.entries.pop_front() else {
                break;
            };
            ring.bytes -= oldest.body_bytes;
            ring.dropped += 1;
        }
    }

    pub(crate) fn recorded(&self) -> Recorded {
        let ring = self.lock();
        Recorded { dropped: ring.dropped, requests: ring.entries.iter().cloned().collect() }
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Ring::default();
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // No code panics with the lock held, and the ring would be whole if it did.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{RECORDED_BYTES_MAX, Recorder};

    #[test]
    fn the_oldest_is_dropped_and_counted() {
        let recorder = Recorder::new(2);
        for _ in 0..3 {
            recorder.record("/p", None, Value::Null, 1);
        }
        let recorded = recorder.recorded();
        assert_eq!(recorded.dropped, 1);
        assert_eq!(recorded.requests.iter().map(|r| r.sequence).collect::<Vec<_>>(), [2, 3]);
        recorder.clear();
        assert_eq!((recorder.recorded().dropped, recorder.recorded().requests.len()), (0, 0));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let recorder = Recorder::new(10);
        recorder.record("/p", None, Value::Null, RECORDED_BYTES_MAX);
        recorder.record("/p", None, Value::Null, 1);
        assert_eq!(recorder.recorded().requests.len(), 1);
    }
}
