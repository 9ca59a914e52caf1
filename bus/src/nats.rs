//! The bus on NATS JetStream.
//!
//! Rules that were paid for elsewhere (`docs/`, reference on NATS): every stream and consumer is
//! read back after it was made, because old servers drop settings silently; work queues discard
//! new messages, never queued ones; deliveries are not counted here; nothing is published into a
//! stream without waiting for its ack; acks are not fenced, so the database is.

mod assemble;
mod assets;
mod connect;
mod events;
mod publish;
mod queue;
mod requests;
mod transfer;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::Context;
use bytes::Bytes;
use domain::id::WorkerEpoch;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use events::EventReader;
pub(crate) use queue::{Consumer, Lease};
pub(crate) use requests::{Reply, Requests};

use crate::Error;
use crate::subjects::Subjects;
use transfer::Depot;

/// Waiting for the server's answer to one small thing.
const ROUND_TRIP_WITHIN: Duration = Duration::from_secs(2);

/// How long `close` waits for unsent messages to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How the bus reaches NATS, and what it keeps there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers, separated by commas: `nats://host:4222`, `tls://host:4222`.
    pub url: String,
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates of authorities to trust besides the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// First part of every subject and stream name; clusters that share a server differ in it.
    pub prefix: String,
    /// What this process may do.
    pub role: Role,
    /// Replicas of every stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// A message without an ack for this long is delivered again.
    pub lease: Duration,
    /// Messages of one queue; beyond it `enqueue` fails.
    pub queue_messages_max: usize,
    /// For this long the server remembers message ids.
    pub dedupe_window: Duration,
    /// Bytes of all event logs together; beyond it `append` fails.
    pub events_bytes_max: usize,
    /// Event logs that nobody forgot are dropped after this long. Longer than any run may take:
    /// positions are counted from a log's first entry.
    pub events_age_max: Duration,
    /// How long to try at the start before giving up.
    pub connect_wait: Duration,
}

impl Settings {
    /// The usual settings of a control plane process.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: Credentials::None,
            tls_ca_file: None,
            prefix: crate::subjects::PREFIX.to_owned(),
            role: Role::Owner,
            replicas: 1,
            lease: Duration::from_secs(30),
            queue_messages_max: 200_000,
            dedupe_window: Duration::from_secs(120),
            events_bytes_max: 4 * 1024 * 1024 * 1024,
            events_age_max: Duration::from_secs(7 * 24 * 3600),
            connect_wait: Duration::from_secs(30),
        }
    }
}

/// How this process shows who it is.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all: a server without users.
    #[default]
    None,
    /// By name and password.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: String,
    },
    /// By a token.
    Token(String),
    /// By the seed of an nkey.
    Nkey(String),
    /// By a `.creds` file.
    File(PathBuf),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Token(_) => f.write_str("Token"),
            Self::Nkey(_) => f.write_str("Nkey"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What a process may do on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Api and scheduler: makes streams, reads everything.
    Owner,
    /// A worker under [`crate::WorkerUser::permissions`]: uses what is there. A pool's queue
    /// exists once an owner used it; until then it looks empty.
    Worker {
        /// The name of the worker user.
        user: String,
    },
}

/// The NATS bus.
#[derive(Clone, Debug)]
pub(crate) struct Nats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    subjects: Subjects,
    client: async_nats::Client,
    jetstream: Context,
    /// Counts connections: whoever waits for an answer across one knows that it may be lost.
    connections: watch::Receiver<u64>,
    /// Streams known to be as they should.
    ensured: Mutex<HashSet<String>>,
    depot: Depot,
    closed: CancellationToken,
    /// Ends the background tasks with the last clone.
    _guard: DropGuard,
}

impl Nats {
    pub(crate) async fn connect(settings: Settings) -> Result<Self, Error> {
        let subjects = Subjects::new(&settings.prefix)?;
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let inbox = match &settings.role {
            Role::Owner => subjects.owner_inbox(),
            Role::Worker { user } => subjects.worker_inbox(user)?,
        };
        let (client, connections) = Box::pin(connect::connect(&settings, &inbox, &closed)).await?;
        let mut jetstream = async_nats::jetstream::new(client.clone());
        jetstream.set_timeout(assets::API_WITHIN);
        let depot = Depot::open(&client, &subjects, &settings.role, &closed).await?;
        let nats = Self(Arc::new(Shared {
            settings,
            subjects,
            client,
            jetstream,
            connections,
            ensured: Mutex::default(),
            depot,
            closed,
            _guard: guard,
        }));
        Box::pin(nats.ensure_all()).await?;
        Ok(nats)
    }

    pub(crate) async fn apart(&self) -> Result<Self, Error> {
        Self::connect(self.0.settings.clone()).await
    }

    fn open(&self) -> Result<(), Error> {
        if self.0.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub(crate) async fn tell(&self, worker: WorkerEpoch, body: Bytes) -> Result<(), Error> {
        self.open()?;
        let subject = self.0.subjects.orders(worker);
        let sent = self.0.client.publish(subject.clone(), body);
        match tokio::time::timeout(ROUND_TRIP_WITHIN, sent).await {
            Ok(sent) => sent.map_err(|error| Error::server("publishing to", subject, error)),
            Err(_) => Err(Error::TimedOut { subject, after: ROUND_TRIP_WITHIN }),
        }
    }

    pub(crate) async fn listen(&self, worker: WorkerEpoch) -> Result<Orders, Error> {
        self.open()?;
        let subject = self.0.subjects.orders(worker);
        let subscriber = self
            .0
            .client
            .subscribe(subject.clone())
            .await
            .map_err(|error| Error::server("subscribing to", subject, error))?;
        // The server has the subscription once it answered what was sent after it.
        self.round_trip().await?;
        Ok(Orders { subscriber, closed: self.0.closed.clone() })
    }

    /// There and back through the server, over our own connection.
    async fn round_trip(&self) -> Result<(), Error> {
        let subject = self.0.depot.echo();
        let request = async_nats::Request::new().timeout(Some(ROUND_TRIP_WITHIN));
        let answer = self.0.client.send_request(subject.clone(), request);
        match tokio::time::timeout(ROUND_TRIP_WITHIN, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Error::server("asking", subject, error)),
            Err(_) => Err(Error::TimedOut { subject, after: ROUND_TRIP_WITHIN }),
        }
    }

    pub(crate) async fn healthy(&self) -> Result<(), Error> {
        self.open()?;
        Box::pin(self.round_trip()).await
    }

    pub(crate) async fn close(&self) {
        let unsent = async {
            let _ = self.0.client.flush().await;
        };
        if tokio::time::timeout(CLOSE_WITHIN, unsent).await.is_err() {
            tracing::warn!("closed the bus with messages that NATS did not take");
        }
        self.0.closed.cancel();
        // Ends the connection once the subscriptions are empty.
        let _ = self.0.client.drain().await;
    }
}

/// The orders to one worker.
#[derive(Debug)]
pub(crate) struct Orders {
    subscriber: async_nats::Subscriber,
    closed: CancellationToken,
}

impl Orders {
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            order = self.subscriber.next() => Some(order?.payload),
            () = self.closed.cancelled() => None,
        }
    }
}

/// A lock that a panicked holder does not take along: every state here is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
