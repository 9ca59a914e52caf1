//! Work queues: one JetStream work-queue stream and one durable pull consumer each.
//!
//! A fetch is one pull that the server ends as soon as it delivered what it had, or when the time
//! is over (`no_wait` together with `expires`). So no pull is larger than what the caller can
//! start, and none is left open with room in it for messages that nobody takes.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Nats;
use super::publish::{Message, Published, Stream};
use crate::bus::DeliveryHandle;
use crate::{Cause, Delivery, Error, MESSAGE_BYTES_MAX, Queue};

/// Longest that one pull waits on the server: a pull that the server lost costs no more.
const PULL_WAIT_MAX: Duration = Duration::from_secs(10);

/// Shortest wait that is asked for: without one the server says so in a way of its own.
const PULL_WAIT_MIN: Duration = Duration::from_millis(1);

/// How much later than its end a pull may end before it counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// How long a pull is listened to after a new connection, in case it was sent over that one.
const LINGER: Duration = Duration::from_millis(300);

/// Looking again for a queue that nobody made yet.
const QUEUE_LOOK_EVERY: Duration = Duration::from_millis(250);

impl Nats {
    pub(crate) async fn enqueue(&self, queue: &Queue, id: &str, body: Bytes) -> Result<(), Error> {
        self.open()?;
        let subject = self.0.subjects.queue(queue)?;
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge {
                subject,
                bytes: body.len(),
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        self.ensure_queue(queue).await?;
        let message = Message {
            subject: subject.clone(),
            id: id.to_owned(),
            headers: async_nats::HeaderMap::new(),
            payload: body,
        };
        match self.publish(message, Stream::Queue(queue)).await? {
            Published::Stored => Ok(()),
            Published::Full => Err(Error::QueueFull { subject }),
            Published::NoStream => {
                let cause = Cause::from("no stream takes it");
                Err(Error::server("publishing to", subject, cause))
            }
        }
    }

    pub(crate) fn consumer(&self, queue: &Queue) -> Result<Consumer, Error> {
        self.open()?;
        Ok(Consumer {
            stream: self.0.subjects.queue_stream(queue)?,
            durable: self.0.subjects.queue_durable(queue),
            queue: queue.clone(),
            attached: None,
            pull: None,
            taken: VecDeque::new(),
            connections: self.0.connections.clone(),
            nats: self.clone(),
        })
    }
}

/// Takes part in a queue.
pub(crate) struct Consumer {
    nats: Nats,
    queue: Queue,
    stream: String,
    durable: &'static str,
    attached: Option<PullConsumer>,
    /// The pull under way. It outlives a cancelled fetch, as does what it took.
    pull: Option<Pull>,
    taken: VecDeque<jetstream::Message>,
    connections: watch::Receiver<u64>,
}

/// A pull that the server knows.
struct Pull {
    batch: Batch,
    /// When the server ends it.
    ends: Instant,
    /// How much later we notice that it did not.
    grace: Duration,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(crate) async fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        loop {
            self.nats.open()?;
            if self.pull.is_none() && !self.taken.is_empty() {
                let ready = self.taken.len().min(max);
                return self.taken.drain(..ready).map(delivery).collect();
            }
            if self.pull.is_some() {
                tokio::select! {
                    biased;
                    pulled = self.pull() => pulled?,
                    // A longer pull than this fetch, of one that was cancelled: it goes on.
                    () = tokio::time::sleep_until(until + GRACE) => return Ok(Vec::new()),
                }
                if self.taken.is_empty() && Instant::now() >= until {
                    return Ok(Vec::new());
                }
            } else if self.attach().await? {
                self.start(max, until).await?;
            } else if Instant::now() >= until {
                return Ok(Vec::new());
            } else {
                let again = Instant::now() + QUEUE_LOOK_EVERY;
                tokio::time::sleep_until(again.min(until)).await;
            }
        }
    }

    /// Whether the durable consumer is at hand; it is not while the queue does not exist.
    async fn attach(&mut self) -> Result<bool, Error> {
        if self.attached.is_some() {
            return Ok(true);
        }
        self.nats.ensure_queue(&self.queue).await?;
        let jetstream = &self.nats.0.jetstream;
        // Needs fewer rights than going through the stream.
        let found = jetstream.get_consumer_from_stream(self.durable, &self.stream);
        match found.await {
            Ok(consumer) => {
                self.attached = Some(consumer);
                Ok(true)
            }
            Err(error) => {
                self.nats.doubt(&self.stream);
                tracing::debug!(nats.stream = self.stream, error = %error, "no such queue yet");
                Ok(false)
            }
        }
    }

    /// Starts a pull. Without heartbeats: the library's batch stalls on them, and a lost pull
    /// shows by its end.
    async fn start(&mut self, max: usize, until: Instant) -> Result<(), Error> {
        let Some(consumer) = &self.attached else {
            return Ok(());
        };
        self.connections.mark_unchanged();
        let wait = until.saturating_duration_since(Instant::now());
        let wait = wait.clamp(PULL_WAIT_MIN, PULL_WAIT_MAX);
        let ends = Instant::now() + wait;
        let pull = consumer.fetch().max_messages(max).expires(wait);
        match pull.messages().await {
            Ok(batch) => self.pull = Some(Pull { batch, ends, grace: GRACE }),
            Err(error) => return Err(self.lost(error)),
        }
        Ok(())
    }

    /// Follows the pull to its end. Safe to cancel: what it takes is kept at once.
    async fn pull(&mut self) -> Result<(), Error> {
        while let Some(Pull { batch, ends, grace }) = &mut self.pull {
            let message = tokio::select! {
                // First, so that what has arrived is never thrown away for another reason.
                biased;
                message = batch.next() => message,
                // The server forgot the pull with the old connection, unless the pull waited here
                // for the new one: then messages may be on their way to it.
                _ = self.connections.changed() => {
                    *ends = (*ends).min(Instant::now() + LINGER);
                    *grace = Duration::ZERO;
                    continue;
                }
                () = self.nats.0.closed.cancelled() => None,
                () = tokio::time::sleep_until(*ends + *grace) => {
                    tracing::info!(nats.stream = self.stream, "a pull stalled, attaching again");
                    self.attached = None;
                    None
                }
            };
            match message {
                Some(Ok(message)) => self.taken.push_back(message),
                Some(Err(error)) => {
                    let error = self.lost(error);
                    // What was taken is under lease: hand it over, and start anew afterwards.
                    return if self.taken.is_empty() { Err(error) } else { Ok(()) };
                }
                None => self.pull = None,
            }
        }
        Ok(())
    }

    fn lost(&mut self, cause: impl Into<Cause>) -> Error {
        self.attached = None;
        self.pull = None;
        self.nats.doubt(&self.stream);
        Error::server("fetching from", &self.stream, cause)
    }
}

fn delivery(message: jetstream::Message) -> Result<Delivery, Error> {
    let delivered = match message.info() {
        Ok(info) => u64::try_from(info.delivered).unwrap_or(1),
        Err(error) => return Err(Error::server("reading from", &*message.subject, error)),
    };
    let (message, acker) = message.split();
    Ok(Delivery {
        body: message.payload,
        delivered,
        handle: DeliveryHandle::Nats(Box::new(Lease {
            subject: message.subject.to_string(),
            acker,
        })),
    })
}

/// The right to one delivery.
pub(crate) struct Lease {
    subject: String,
    acker: jetstream::message::Acker,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) async fn ack(&self) -> Result<(), Error> {
        self.send(AckKind::Ack).await
    }

    pub(crate) async fn nack(&self, after: Duration) -> Result<(), Error> {
        self.send(AckKind::Nak(Some(after))).await
    }

    pub(crate) async fn extend(&self) -> Result<(), Error> {
        self.send(AckKind::Progress).await
    }

    async fn send(&self, kind: AckKind) -> Result<(), Error> {
        let sent = self.acker.ack_with(kind).await;
        sent.map_err(|error| Error::server("acknowledging from", &self.subject, error))
    }
}
