//! The bus inside one process: `flowcell up` and tests.
//!
//! Queues, requests and orders live in memory: the database offers again what a crash loses. The
//! event logs are files, because clients keep positions in them across a restart.

mod log;
mod orders;
mod queue;
mod requests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};

pub(crate) use log::EventReader;
pub(crate) use orders::Orders;
pub(crate) use queue::{Consumer, Lease};
pub(crate) use requests::{Reply, Requests};

use crate::subjects::Subjects;
use crate::{Error, Queue, Service};

/// Most different queues: pools come from configuration, and there are few.
const QUEUES_MAX: usize = 256;

/// How the in-process bus is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the event logs; made when missing. One process at a time may use it.
    pub events_dir: PathBuf,
    /// A message without an ack for this long is delivered again.
    pub lease: Duration,
    /// Messages of one queue, those under lease included; beyond it `enqueue` fails.
    pub queue_messages_max: usize,
    /// For this long a message id is remembered.
    pub dedupe_window: Duration,
}

impl Settings {
    /// The usual settings.
    #[must_use]
    pub fn new(events_dir: impl Into<PathBuf>) -> Self {
        Self {
            events_dir: events_dir.into(),
            lease: Duration::from_secs(30),
            queue_messages_max: 200_000,
            dedupe_window: Duration::from_secs(120),
        }
    }
}

/// The in-process bus.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    subjects: Subjects,
    queues: Mutex<HashMap<Queue, Arc<queue::State>>>,
    hub: requests::Hub,
    orders: orders::Table,
    logs: log::Logs,
    closed: tokio_util::sync::CancellationToken,
}

impl Memory {
    pub(crate) async fn open(settings: Settings) -> Result<Self, Error> {
        let closed = tokio_util::sync::CancellationToken::new();
        let logs = log::Logs::open(settings.events_dir.clone(), closed.clone()).await?;
        Ok(Self(Arc::new(Shared {
            settings,
            subjects: Subjects::default(),
            queues: Mutex::default(),
            hub: requests::Hub::new(closed.clone()),
            orders: orders::Table::default(),
            logs,
            closed,
        })))
    }

    pub(crate) fn healthy(&self) -> Result<(), Error> {
        if self.0.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    fn queue(&self, queue: &Queue) -> Result<Arc<queue::State>, Error> {
        self.healthy()?;
        let subject = self.0.subjects.queue(queue)?;
        let mut queues = lock(&self.0.queues);
        if let Some(state) = queues.get(queue) {
            return Ok(Arc::clone(state));
        }
        if queues.len() >= QUEUES_MAX {
            return Err(Error::QueueFull { subject });
        }
        let settings = &self.0.settings;
        let state = Arc::new(queue::State::new(subject, settings, self.0.closed.clone()));
        queues.insert(queue.clone(), Arc::clone(&state));
        Ok(state)
    }

    pub(crate) fn enqueue(&self, queue: &Queue, id: &str, body: Bytes) -> Result<(), Error> {
        self.queue(queue)?.enqueue(id, body)
    }

    pub(crate) fn consumer(&self, queue: &Queue) -> Result<Consumer, Error> {
        Ok(Consumer::new(self.queue(queue)?))
    }

    pub(crate) async fn request(
        &self,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        self.healthy()?;
        let subject = self.0.subjects.service(service);
        self.0.hub.request(service, subject, body, timeout).await
    }

    pub(crate) fn serve(&self, service: Service, concurrency: usize) -> Result<Requests, Error> {
        self.healthy()?;
        Ok(self.0.hub.serve(service, concurrency))
    }

    pub(crate) fn tell(&self, worker: WorkerEpoch, body: &Bytes) -> Result<(), Error> {
        self.healthy()?;
        self.0.orders.tell(worker, body);
        Ok(())
    }

    pub(crate) fn listen(&self, worker: WorkerEpoch) -> Result<Orders, Error> {
        self.healthy()?;
        Ok(self.0.orders.listen(worker, self.0.closed.clone()))
    }

    pub(crate) async fn append(
        &self,
        run: RunId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), Error> {
        self.healthy()?;
        self.0.logs.append(run, entries).await
    }

    pub(crate) async fn read(&self, run: RunId, after: u64) -> Result<EventReader, Error> {
        self.healthy()?;
        self.0.logs.read(run, after).await
    }

    pub(crate) async fn snapshot(&self, run: RunId) -> Result<Vec<Bytes>, Error> {
        self.healthy()?;
        self.0.logs.snapshot(run).await
    }

    pub(crate) async fn forget(&self, run: RunId) -> Result<(), Error> {
        self.healthy()?;
        self.0.logs.forget(run).await
    }

    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        self.0.logs.close();
    }
}

/// A lock that a panicked holder does not take along: every state here is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
