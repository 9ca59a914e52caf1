//! Streams and durable consumers: made by owners, read back, and refused when they differ.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use domain::limits::FLOW_DEPTH_MAX;

use super::{Nats, Role, lock};
use crate::{Error, MESSAGE_BYTES_MAX, Queue};

/// Waiting for an answer of the JetStream API.
pub(super) const API_WITHIN: Duration = Duration::from_secs(5);

/// Largest message of an event log: a chunk, or entries that fit together, and their headers.
const EVENTS_MESSAGE_BYTES_MAX: i32 = 640 * 1024;

/// A queue is short: tasks wait in the database. This bounds what it takes of the server's disk.
const QUEUE_BYTES_MAX: i64 = 256 * 1024 * 1024;

/// The same for tasks of child runs: there is a queue for each depth, and the server sets aside
/// what each may take.
const CHILD_QUEUE_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Queued messages are offered again by the database long before.
const QUEUE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Deliveries of one queue under lease at a time. Leases are short: a worker claims, then acks.
const ACK_PENDING_MAX: i64 = 10_000;

/// Fetches that wait at one queue: one per worker process.
const WAITING_MAX: i64 = 4_096;

impl Nats {
    /// What every cluster needs; queues of pools are made when they are first used.
    pub(super) async fn ensure_all(&self) -> Result<(), Error> {
        if self.0.settings.role != Role::Owner {
            return Ok(());
        }
        self.ensure_queue(&Queue::Runs).await?;
        self.ensure_events().await
    }

    pub(super) async fn ensure_events(&self) -> Result<(), Error> {
        let settings = &self.0.settings;
        self.ensure_stream(Config {
            name: self.0.subjects.events_stream(),
            subjects: vec![self.0.subjects.events_all()],
            retention: RetentionPolicy::Limits,
            // A log that loses its head would change every position in it: better to refuse.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_bytes: i64::try_from(settings.events_bytes_max).unwrap_or(i64::MAX),
            max_age: settings.events_age_max,
            max_message_size: EVENTS_MESSAGE_BYTES_MAX,
            duplicate_window: settings.dedupe_window,
            num_replicas: settings.replicas,
            ..Config::default()
        })
        .await
    }

    /// Along with a pool's queue, those of its child runs: workers that have no right to make
    /// them look for them all the time.
    pub(super) async fn ensure_queue(&self, queue: &Queue) -> Result<(), Error> {
        self.ensure_one(queue).await?;
        if let Queue::Tasks { pool, depth: 0 } = queue {
            for depth in 1..=FLOW_DEPTH_MAX {
                self.ensure_one(&Queue::Tasks { pool: pool.clone(), depth }).await?;
            }
        }
        Ok(())
    }

    async fn ensure_one(&self, queue: &Queue) -> Result<(), Error> {
        let settings = &self.0.settings;
        let stream = self.0.subjects.queue_stream(queue)?;
        if settings.role != Role::Owner || lock(&self.0.ensured).contains(&stream) {
            return Ok(());
        }
        let subject = self.0.subjects.queue(queue)?;
        self.ensure_stream(Config {
            name: stream.clone(),
            subjects: vec![subject.clone()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_messages: i64::try_from(settings.queue_messages_max).unwrap_or(i64::MAX),
            max_bytes: bytes_max(queue),
            max_age: QUEUE_AGE_MAX,
            max_message_size: i32::try_from(MESSAGE_BYTES_MAX).unwrap_or(i32::MAX) + 4096,
            duplicate_window: settings.dedupe_window.min(QUEUE_AGE_MAX),
            num_replicas: settings.replicas,
            ..Config::default()
        })
        .await?;
        self.ensure_durable(&stream, &subject, self.0.subjects.queue_durable(queue)).await?;
        lock(&self.0.ensured).insert(stream);
        Ok(())
    }

    /// The server does not know a stream that was there: its data was lost. Make it again.
    pub(super) fn doubt(&self, stream: &str) {
        lock(&self.0.ensured).remove(stream);
    }

    async fn ensure_stream(&self, needed: Config) -> Result<(), Error> {
        // A server whose disk is full refuses an update that changes nothing, and would keep every
        // process from starting.
        if let Ok(stream) = self.0.jetstream.get_stream(&needed.name).await
            && is_as_needed(&stream.cached_info().config, &needed).is_ok()
        {
            return Ok(());
        }
        let info = self
            .0
            .jetstream
            .create_or_update_stream(needed.clone())
            .await
            .map_err(|error| Error::server("making stream", &needed.name, error))?;
        is_as_needed(&info.config, &needed)
    }

    async fn ensure_durable(
        &self,
        stream: &str,
        subject: &str,
        durable: &'static str,
    ) -> Result<(), Error> {
        let needed = pull::Config {
            durable_name: Some(durable.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.0.settings.lease,
            // Attempts are counted in the database; a message the server gave up would be lost.
            max_deliver: -1,
            max_ack_pending: ACK_PENDING_MAX,
            max_waiting: WAITING_MAX,
            filter_subject: subject.to_owned(),
            ..pull::Config::default()
        };
        let name = format!("{stream}/{durable}");
        let made: PullConsumer = self
            .0
            .jetstream
            .create_consumer_on_stream(needed.clone(), stream)
            .await
            .map_err(|error| Error::server("making consumer", &name, error))?;
        let has = &made.cached_info().config;
        compare(&name, "ack_policy", &has.ack_policy, &needed.ack_policy)?;
        compare(&name, "ack_wait", &has.ack_wait, &needed.ack_wait)?;
        compare(&name, "max_deliver", &has.max_deliver, &needed.max_deliver)?;
        let (has_filter, filter) = (&has.filter_subject, &needed.filter_subject);
        compare(&name, "filter_subject", has_filter, filter)?;
        let pending = has.max_ack_pending;
        compare(&name, "max_ack_pending", &pending, &needed.max_ack_pending)
    }
}

fn is_as_needed(has: &Config, needed: &Config) -> Result<(), Error> {
    let name = &needed.name;
    compare(name, "retention", &has.retention, &needed.retention)?;
    compare(name, "discard", &has.discard, &needed.discard)?;
    compare(name, "storage", &has.storage, &needed.storage)?;
    compare(name, "subjects", &has.subjects, &needed.subjects)?;
    compare(name, "max_bytes", &has.max_bytes, &needed.max_bytes)?;
    compare(name, "max_age", &has.max_age, &needed.max_age)?;
    compare(name, "max_msg_size", &has.max_message_size, &needed.max_message_size)?;
    let (has_window, window) = (has.duplicate_window, needed.duplicate_window);
    compare(name, "duplicate_window", &has_window, &window)?;
    compare(name, "num_replicas", &has.num_replicas, &needed.num_replicas)?;
    if needed.max_messages > 0 {
        compare(name, "max_msgs", &has.max_messages, &needed.max_messages)?;
    }
    Ok(())
}

fn bytes_max(queue: &Queue) -> i64 {
    match queue {
        Queue::Runs | Queue::Tasks { depth: 0, .. } => QUEUE_BYTES_MAX,
        Queue::Tasks { .. } => CHILD_QUEUE_BYTES_MAX,
    }
}

fn compare<T: PartialEq + Debug>(
    asset: &str,
    field: &'static str,
    actual: &T,
    needed: &T,
) -> Result<(), Error> {
    if actual == needed {
        return Ok(());
    }
    Err(Error::Unsuitable {
        asset: asset.to_owned(),
        field,
        actual: format!("{actual:?}"),
        needed: format!("{needed:?}"),
    })
}
