//! Follows one log: what the file has, then what comes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::blocking;
use super::file::{Log, Progress, Start};
use crate::Error;

/// Reads one run's event log.
#[derive(Debug)]
pub(crate) struct EventReader {
    log: Arc<Log>,
    progress: watch::Receiver<Progress>,
    closed: CancellationToken,
    offset: u64,
    /// Position of the last entry that was read from the file.
    position: u64,
    after: u64,
    ready: VecDeque<(u64, Bytes)>,
}

impl EventReader {
    pub(super) fn new(log: Arc<Log>, start: Start, after: u64, closed: CancellationToken) -> Self {
        Self {
            progress: log.watch(),
            log,
            closed,
            offset: start.offset,
            position: start.position,
            after,
            ready: VecDeque::new(),
        }
    }

    /// Nothing changes before an await ends, so a cancelled call leaves the reader where it was.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, Error> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            let progress = *self.progress.borrow_and_update();
            if progress.gone || self.closed.is_cancelled() {
                return Ok(None);
            }
            if progress.len <= self.offset {
                tokio::select! {
                    // The log, which sends, is held by this reader.
                    _ = self.progress.changed() => {}
                    () = self.closed.cancelled() => {}
                }
                continue;
            }
            let (log, offset) = (Arc::clone(&self.log), self.offset);
            let piece = blocking(move || log.read_at(offset, progress.len)).await?;
            self.offset = piece.end;
            for body in piece.bodies {
                self.position += 1;
                if self.position > self.after {
                    self.ready.push_back((self.position, body));
                }
            }
        }
    }
}
