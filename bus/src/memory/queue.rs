//! A work queue in memory: leases, delayed redelivery, de-duplication and a bound.
//!
//! ```text
//! enqueue ──▶ ready ──fetch──▶ leased ──ack──▶ gone
//!               ▲                │
//!               └──── due ◀──nack, lease over
//! ```
//! There is no background task: whoever fetches moves what is due, and sleeps until the next
//! message falls due or a new one comes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Settings, lock};
use crate::bus::DeliveryHandle;
use crate::{Delivery, Error, MESSAGE_BYTES_MAX};

/// One queue.
#[derive(Debug)]
pub(super) struct State {
    subject: String,
    lease: Duration,
    messages_max: usize,
    dedupe_window: Duration,
    inner: Mutex<Inner>,
    changed: Notify,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every message, by the number it got when it came.
    messages: HashMap<u64, Message>,
    /// Deliverable ones, in the order they became so.
    ready: VecDeque<u64>,
    /// The others, by when they become deliverable again.
    due: BTreeMap<(Instant, u64), ()>,
    /// Ids within the window, and when they came.
    ids: HashSet<String>,
    ids_by_age: VecDeque<(Instant, String)>,
    numbers: u64,
}

#[derive(Debug)]
struct Message {
    body: Bytes,
    delivered: u64,
    /// When it falls due, while it is leased or delayed.
    due: Option<Instant>,
}

impl Inner {
    fn forget_ids(&mut self, before: Instant) {
        while let Some((at, _)) = self.ids_by_age.front() {
            if *at > before {
                break;
            }
            if let Some((_, id)) = self.ids_by_age.pop_front() {
                self.ids.remove(&id);
            }
        }
    }

    /// Makes deliverable what is due; the time of the next one that will be.
    fn wake(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.due.first_entry() {
            let (at, number) = *entry.key();
            if at > now {
                return Some(at);
            }
            entry.remove();
            if let Some(message) = self.messages.get_mut(&number) {
                message.due = None;
                self.ready.push_back(number);
            }
        }
        None
    }

    fn set_due(&mut self, number: u64, at: Instant) {
        if let Some(message) = self.messages.get_mut(&number) {
            if let Some(old) = message.due.replace(at) {
                self.due.remove(&(old, number));
            }
            self.due.insert((at, number), ());
        }
    }

    /// Whether this delivery still holds the lease. Unlike NATS, a late ack does nothing here.
    fn holds(&self, number: u64, delivered: u64) -> bool {
        self.messages
            .get(&number)
            .is_some_and(|message| message.delivered == delivered && message.due.is_some())
    }
}

impl State {
    pub(super) fn new(subject: String, settings: &Settings, closed: CancellationToken) -> Self {
        Self {
            subject,
            lease: settings.lease,
            messages_max: settings.queue_messages_max,
            dedupe_window: settings.dedupe_window,
            inner: Mutex::default(),
            changed: Notify::new(),
            closed,
        }
    }

    pub(super) fn enqueue(&self, id: &str, body: Bytes) -> Result<(), Error> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge {
                subject: self.subject.clone(),
                bytes: body.len(),
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        let now = Instant::now();
        {
            let mut inner = lock(&self.inner);
            if let Some(before) = now.checked_sub(self.dedupe_window) {
                inner.forget_ids(before);
            }
            if inner.ids.contains(id) {
                return Ok(());
            }
            if inner.messages.len() >= self.messages_max {
                return Err(Error::QueueFull { subject: self.subject.clone() });
            }
            inner.ids.insert(id.to_owned());
            inner.ids_by_age.push_back((now, id.to_owned()));
            inner.numbers += 1;
            let number = inner.numbers;
            let message = Message { body, delivered: 0, due: None };
            inner.messages.insert(number, message);
            inner.ready.push_back(number);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Leases up to `max` messages, or tells when the next one may be ready.
    fn take(self: &Arc<Self>, max: usize) -> Result<Vec<Delivery>, Option<Instant>> {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        let next_due = inner.wake(now);
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(number) = inner.ready.pop_front()
        {
            let Some(message) = inner.messages.get_mut(&number) else {
                continue;
            };
            message.delivered += 1;
            let delivered = message.delivered;
            let body = message.body.clone();
            inner.set_due(number, now + self.lease);
            let lease = Lease { queue: Arc::clone(self), number, delivered };
            taken.push(Delivery { body, delivered, handle: DeliveryHandle::Memory(lease) });
        }
        if !inner.ready.is_empty() {
            self.changed.notify_one(); // Another consumer may sleep.
        }
        if taken.is_empty() {
            return Err(next_due);
        }
        Ok(taken)
    }
}

/// Takes part in a queue.
#[derive(Debug)]
pub(crate) struct Consumer {
    queue: Arc<State>,
}

impl Consumer {
    pub(super) fn new(queue: Arc<State>) -> Self {
        Self { queue }
    }

    pub(crate) async fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + wait;
        loop {
            if self.queue.closed.is_cancelled() {
                return Err(Error::Closed);
            }
            // Registered before looking, so that a message that comes in between is noticed.
            let changed = self.queue.changed.notified();
            let next_due = match self.queue.take(max) {
                Ok(taken) => return Ok(taken),
                Err(next_due) => next_due,
            };
            if Instant::now() >= until {
                return Ok(Vec::new());
            }
            let wake = next_due.map_or(until, |due| due.min(until));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.queue.closed.cancelled() => {}
            }
        }
    }
}

/// The right to one delivery.
#[derive(Debug)]
pub(crate) struct Lease {
    queue: Arc<State>,
    number: u64,
    delivered: u64,
}

impl Lease {
    pub(crate) fn ack(&self) -> Result<(), Error> {
        let mut inner = lock(&self.queue.inner);
        if inner.holds(self.number, self.delivered)
            && let Some(message) = inner.messages.remove(&self.number)
            && let Some(due) = message.due
        {
            inner.due.remove(&(due, self.number));
        }
        Ok(())
    }

    pub(crate) fn nack(&self, after: Duration) -> Result<(), Error> {
        self.set_due(after);
        self.queue.changed.notify_one();
        Ok(())
    }

    pub(crate) fn extend(&self) -> Result<(), Error> {
        self.set_due(self.queue.lease);
        Ok(())
    }

    fn set_due(&self, after: Duration) {
        let mut inner = lock(&self.queue.inner);
        if inner.holds(self.number, self.delivered) {
            inner.set_due(self.number, Instant::now() + after);
        }
    }
}
