//! The interface: one bus, two implementations behind it.

use std::time::Duration;

use bytes::Bytes;
use domain::id::{RunId, WorkerEpoch};

use crate::memory::{self, Memory};
use crate::nats::{self, Nats};
use crate::{Error, subjects};

/// A work queue. Each message is handled by one of the queue's consumers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Runs that were accepted, for the schedulers.
    Runs,
    /// Tasks that may be taken, for the workers of one pool.
    Tasks {
        /// The pool: 1 to 48 letters, digits and `-`.
        pool: String,
        /// How many runs stand above theirs. Each depth has a queue of its own, so that tasks
        /// for whose runs others wait never stand behind those that will wait.
        depth: u32,
    },
}

/// Who answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Any scheduler.
    Scheduler,
}

/// The bus. Clones share one connection and one state.
#[derive(Clone, Debug)]
pub struct Bus(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Memory(Memory),
    Nats(Nats),
}

impl From<Memory> for Bus {
    fn from(memory: Memory) -> Self {
        Self(Inner::Memory(memory))
    }
}

impl From<Nats> for Bus {
    fn from(nats: Nats) -> Self {
        Self(Inner::Nats(nats))
    }
}

impl Bus {
    /// Puts a message into a queue; returns once it is stored. A message with an id that was put
    /// there within the de-duplication window is stored already, and this succeeds.
    ///
    /// # Errors
    /// [`Error::QueueFull`] asks the caller to slow down.
    pub async fn enqueue(&self, queue: &Queue, message_id: &str, body: Bytes) -> Result<(), Error> {
        subjects::check_id("message id", message_id)?;
        match &self.0 {
            Inner::Memory(memory) => memory.enqueue(queue, message_id, body),
            Inner::Nats(nats) => Box::pin(nats.enqueue(queue, message_id, body)).await,
        }
    }

    /// Takes part in a queue. Any number of consumers share its messages.
    ///
    /// # Errors
    /// [`Error::Name`] for a pool name that is not plain.
    pub async fn consumer(&self, queue: &Queue) -> Result<Consumer, Error> {
        Ok(Consumer(match &self.0 {
            Inner::Memory(memory) => ConsumerInner::Memory(memory.consumer(queue)?),
            Inner::Nats(nats) => ConsumerInner::Nats(Box::new(nats.consumer(queue)?)),
        }))
    }

    /// Asks a service and waits for the answer of one of its servers.
    ///
    /// # Errors
    /// [`Error::NoServer`] at once when nobody serves; [`Error::TimedOut`] when somebody may have
    /// acted and the answer is missing.
    pub async fn request(
        &self,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        match &self.0 {
            Inner::Memory(memory) => memory.request(service, body, timeout).await,
            Inner::Nats(nats) => Box::pin(nats.request(service, body, timeout)).await,
        }
    }

    /// Serves a service, with at most `concurrency` unanswered requests at a time.
    ///
    /// # Errors
    /// When the server cannot be used.
    pub async fn serve(&self, service: Service, concurrency: usize) -> Result<Requests, Error> {
        Ok(Requests(match &self.0 {
            Inner::Memory(memory) => RequestsInner::Memory(memory.serve(service, concurrency)?),
            Inner::Nats(nats) => RequestsInner::Nats(nats.serve(service, concurrency).await?),
        }))
    }

    /// Tells a worker something, if it happens to listen.
    ///
    /// # Errors
    /// When it could not even be sent.
    pub async fn tell(&self, worker: WorkerEpoch, body: Bytes) -> Result<(), Error> {
        match &self.0 {
            Inner::Memory(memory) => memory.tell(worker, &body),
            Inner::Nats(nats) => nats.tell(worker, body).await,
        }
    }

    /// What is told to this worker from now on.
    ///
    /// # Errors
    /// When the server cannot be used.
    pub async fn listen(&self, worker: WorkerEpoch) -> Result<Orders, Error> {
        Ok(Orders(match &self.0 {
            Inner::Memory(memory) => OrdersInner::Memory(memory.listen(worker)?),
            Inner::Nats(nats) => OrdersInner::Nats(nats.listen(worker).await?),
        }))
    }

    /// Appends entries (id, body) to a run's event log, in this order; returns once all are
    /// stored. An entry whose id is in the log already is ignored. After an error some may be
    /// stored: repeating the same call is safe.
    ///
    /// # Errors
    /// [`Error::LogFull`] when the logs hold as much as they may.
    pub async fn append(&self, run: RunId, entries: Vec<(String, Bytes)>) -> Result<(), Error> {
        for (id, body) in &entries {
            subjects::check_id("entry id", id)?;
            if body.len() > crate::ENTRY_BYTES_MAX {
                return Err(Error::TooLarge {
                    subject: format!("event log of {run}"),
                    bytes: body.len(),
                    bytes_max: crate::ENTRY_BYTES_MAX,
                });
            }
        }
        match &self.0 {
            Inner::Memory(memory) => memory.append(run, entries).await,
            Inner::Nats(nats) => Box::pin(nats.append(run, entries)).await,
        }
    }

    /// Reads a run's event log from position `after + 1` on, and follows it. A log that has no
    /// entries yet may be read: the first ones come when they are appended.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub async fn read(&self, run: RunId, after: u64) -> Result<EventReader, Error> {
        Ok(EventReader(match &self.0 {
            Inner::Memory(memory) => EventReaderInner::Memory(memory.read(run, after).await?),
            Inner::Nats(nats) => EventReaderInner::Nats(Box::new(nats.read(run, after)?)),
        }))
    }

    /// All entries that the log has now; entry `i` of the vector is at position `i + 1`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`crate::SNAPSHOT_BYTES_MAX`].
    pub async fn snapshot(&self, run: RunId) -> Result<Vec<Bytes>, Error> {
        match &self.0 {
            Inner::Memory(memory) => memory.snapshot(run).await,
            Inner::Nats(nats) => Box::pin(nats.snapshot(run)).await,
        }
    }

    /// Drops a run's event log. Forgetting what does not exist succeeds. Nothing should be
    /// appended afterwards: what is begins another log, and ids of the old one may still be
    /// ignored for a while.
    ///
    /// # Errors
    /// When the log could not be dropped.
    pub async fn forget(&self, run: RunId) -> Result<(), Error> {
        match &self.0 {
            Inner::Memory(memory) => memory.forget(run).await,
            Inner::Nats(nats) => Box::pin(nats.forget(run)).await,
        }
    }

    /// Whether the bus can be used right now: for readiness.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn healthy(&self) -> Result<(), Error> {
        match &self.0 {
            Inner::Memory(memory) => memory.healthy(),
            Inner::Nats(nats) => nats.healthy().await,
        }
    }

    /// The same bus over a connection of its own, which the runtime that asks for it drives: nothing
    /// that keeps another runtime busy holds it up. Within one process there is no connection, and
    /// this is a clone.
    ///
    /// # Errors
    /// As [`crate::nats()`].
    pub async fn apart(&self) -> Result<Self, Error> {
        match &self.0 {
            Inner::Memory(memory) => Ok(memory.clone().into()),
            Inner::Nats(nats) => Box::pin(nats.apart()).await.map(Self::from),
        }
    }

    /// Ends every reader, consumer and subscription, and sends what is still unsent.
    pub async fn close(&self) {
        match &self.0 {
            Inner::Memory(memory) => memory.close(),
            Inner::Nats(nats) => nats.close().await,
        }
    }
}

/// Takes messages from a queue.
#[derive(Debug)]
pub struct Consumer(ConsumerInner);

#[derive(Debug)]
enum ConsumerInner {
    Memory(memory::Consumer),
    Nats(Box<nats::Consumer>),
}

impl Consumer {
    /// Takes up to `max` messages; waits up to `wait` for the first one and returns an empty
    /// vector when none came. Ask for no more than can be started now: every message taken is
    /// under lease.
    ///
    /// # Errors
    /// When the queue cannot be used; calling again is all it takes to recover.
    pub async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        match &mut self.0 {
            ConsumerInner::Memory(consumer) => consumer.fetch(max, wait).await,
            ConsumerInner::Nats(consumer) => Box::pin(consumer.fetch(max, wait)).await,
        }
    }
}

/// A message under lease. Without an ack before the lease ends it is delivered again, to anyone.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub body: Bytes,
    /// How often it was delivered by now, this time included.
    pub delivered: u64,
    pub(crate) handle: DeliveryHandle,
}

#[derive(Debug)]
pub(crate) enum DeliveryHandle {
    Memory(memory::Lease),
    Nats(Box<nats::Lease>),
}

impl Delivery {
    /// It is done: removes it from the queue. An ack may be lost, so the work must be safe to
    /// repeat; one that comes after the lease ended may or may not count.
    ///
    /// # Errors
    /// When it could not even be sent.
    pub async fn ack(self) -> Result<(), Error> {
        match self.handle {
            DeliveryHandle::Memory(lease) => lease.ack(),
            DeliveryHandle::Nats(lease) => lease.ack().await,
        }
    }

    /// Not now: delivers it again `after` this time.
    ///
    /// # Errors
    /// When it could not even be sent.
    pub async fn nack(self, after: Duration) -> Result<(), Error> {
        match self.handle {
            DeliveryHandle::Memory(lease) => lease.nack(after),
            DeliveryHandle::Nats(lease) => lease.nack(after).await,
        }
    }

    /// Still at it: the lease starts anew.
    ///
    /// # Errors
    /// When it could not even be sent.
    pub async fn extend(&self) -> Result<(), Error> {
        match &self.handle {
            DeliveryHandle::Memory(lease) => lease.extend(),
            DeliveryHandle::Nats(lease) => lease.extend().await,
        }
    }
}

/// The requests to a service that fall to this server.
#[derive(Debug)]
pub struct Requests(RequestsInner);

#[derive(Debug)]
enum RequestsInner {
    Memory(memory::Requests),
    Nats(nats::Requests),
}

impl Requests {
    /// The next request; `None` once the bus is closed, or after [`Requests::leave`]. Waits while as many requests as the
    /// server may have are unanswered. Safe to cancel.
    pub async fn next(&mut self) -> Option<Request> {
        match &mut self.0 {
            RequestsInner::Memory(requests) => requests.next().await,
            RequestsInner::Nats(requests) => requests.next().await,
        }
    }

    /// Takes no more: further requests fall to other servers. What was already sent here still
    /// comes from [`Requests::next`], and then its end.
    pub fn leave(&self) {
        match &self.0 {
            RequestsInner::Memory(requests) => requests.leave(),
            RequestsInner::Nats(requests) => requests.leave(),
        }
    }
}

/// A request. Dropped without a reply, the other side gets [`Error::Dropped`].
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub body: Bytes,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Memory(memory::Reply),
    Nats(nats::Reply),
}

impl Request {
    /// Answers. Returns once the answer is on its way (a large one: fetched by the other side).
    ///
    /// # Errors
    /// [`Error::TooLarge`], or when it could not be sent.
    pub async fn respond(self, body: Bytes) -> Result<(), Error> {
        match self.reply {
            Reply::Memory(reply) => reply.respond(body),
            Reply::Nats(reply) => Box::pin(reply.respond(body)).await,
        }
    }
}

/// The orders to one worker.
#[derive(Debug)]
pub struct Orders(OrdersInner);

#[derive(Debug)]
enum OrdersInner {
    Memory(memory::Orders),
    Nats(nats::Orders),
}

impl Orders {
    /// The next order; `None` once the bus is closed. Safe to cancel.
    pub async fn next(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            OrdersInner::Memory(orders) => orders.next().await,
            OrdersInner::Nats(orders) => orders.next().await,
        }
    }
}

/// Reads one run's event log.
#[derive(Debug)]
pub struct EventReader(EventReaderInner);

#[derive(Debug)]
enum EventReaderInner {
    Memory(memory::EventReader),
    Nats(Box<nats::EventReader>),
}

impl EventReader {
    /// The next entry with its position, as soon as there is one; `None` once the bus is closed
    /// or, as far as this reader can notice, the log was forgotten. Safe to cancel.
    ///
    /// # Errors
    /// When the log cannot be read; calling again goes on at the same position.
    pub async fn next(&mut self) -> Result<Option<(u64, Bytes)>, Error> {
        match &mut self.0 {
            EventReaderInner::Memory(reader) => reader.next().await,
            EventReaderInner::Nats(reader) => Box::pin(reader.next()).await,
        }
    }
}
