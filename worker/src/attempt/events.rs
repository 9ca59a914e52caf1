//! The events of one attempt on their way into the run's log: in order, in small batches, each
//! stored before the attempt is reported.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use domain::time::Timestamp;
use proto::event::{RunEvent, RunEventKind};
use proto::message::AttemptRef;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::upstream::Upstream;

/// Entries between the frames and the log. A full channel makes the runner wait.
const QUEUE_ENTRIES_MAX: usize = 256;
/// Entries of one batch: as many as gathered while the last one was being stored.
const BATCH_ENTRIES_MAX: usize = 128;
/// Bytes of one batch; a single larger entry goes alone.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Where events are put in.
#[derive(Debug)]
pub(crate) struct Events {
    sender: mpsc::Sender<(String, Bytes)>,
    /// Dropped with the attempt: what is not stored by then never will be.
    writer: AbortOnDropHandle<Result<(), bus::Error>>,
    attempt: AttemptRef,
    next: u64,
}

impl Events {
    /// Starts the writer.
    pub(crate) fn open(upstream: Upstream, attempt: AttemptRef) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_ENTRIES_MAX);
        let writer = AbortOnDropHandle::new(tokio::spawn(write(upstream, attempt, receiver)));
        Self { sender, writer, attempt, next: 1 }
    }

    /// Puts one event in; waits while the log does not keep up.
    pub(crate) async fn put(&mut self, kind: RunEventKind) -> Result<(), bus::Error> {
        let id = format!("{}:{}:{}", self.attempt.task, self.attempt.attempt, self.next);
        self.next += 1;
        let entry = Upstream::entry(id, &RunEvent { at: now(), kind })?;
        // A writer that gave up says why at the end.
        let _ = self.sender.send(entry).await;
        Ok(())
    }

    /// Waits until everything is stored.
    pub(crate) async fn finish(self) -> Result<(), bus::Error> {
        let Self { sender, writer, .. } = self;
        drop(sender);
        writer.await.unwrap_or(Err(bus::Error::Closed))
    }
}

async fn write(
    upstream: Upstream,
    attempt: AttemptRef,
    mut receiver: mpsc::Receiver<(String, Bytes)>,
) -> Result<(), bus::Error> {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(entry) => Some(entry),
            None => receiver.recv().await,
        };
        let Some(first) = first else { return Ok(()) };
        let mut bytes = first.1.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_ENTRIES_MAX {
            let Ok(entry) = receiver.try_recv() else { break };
            bytes = bytes.saturating_add(entry.1.len());
            if bytes > BATCH_BYTES_MAX {
                held = Some(entry);
                break;
            }
            batch.push(entry);
        }
        store(&upstream, attempt, batch).await?;
    }
}

/// Stores a batch; repeating is safe because entries have ids.
async fn store(
    upstream: &Upstream,
    attempt: AttemptRef,
    batch: Vec<(String, Bytes)>,
) -> Result<(), bus::Error> {
    let AttemptRef { run, task, attempt } = attempt;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        match upstream.append(run, batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => {
                tracing::warn!(run.id = %run, task.id = task, attempt, %error, "events are not stored yet");
                backoff.pause().await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The wall clock, for people; nothing is measured with it.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
