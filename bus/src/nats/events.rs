//! Event logs: one stream for all, a subject per run.
//!
//! A reader has an ephemeral consumer without acks and reads from the run's first message on,
//! because positions are counted ([`super::assemble`]). Whenever something is amiss (a gap in the
//! consumer's numbering, an error, a new connection) it makes another consumer right after the
//! last message it saw.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use domain::id::RunId;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Nats;
use super::assemble::{Assembler, pieces};
use super::publish::{Message, Published, Stream};
use crate::{Cause, Error, SNAPSHOT_BYTES_MAX};

/// Messages of one pull: bounds what a slow reader buffers to 16 MiB.
const PULL_MESSAGES: usize = 32;

/// How long one pull waits on the server.
const PULL_WAIT: Duration = Duration::from_secs(20);

/// The same where only what is there already is wanted: it comes at once, or somebody forgot the
/// log in between and it never comes.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);

/// A consumer without pulls for this long is removed by the server: its reader is gone.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(60);

/// For this long a reader tries to go on before it reports an error.
const RECOVER_WITHIN: Duration = Duration::from_secs(30);

/// Pause between two tries.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Nats {
    /// Each message is stored before the next is sent, so none can overtake another; entries that
    /// are appended together mostly are one message.
    pub(crate) async fn append(
        &self,
        run: RunId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), Error> {
        self.open()?;
        let subject = self.0.subjects.events(run);
        for piece in pieces(&entries) {
            let message = Message {
                subject: subject.clone(),
                // The server compares ids within the whole stream.
                id: format!("{run}-{}", piece.id),
                headers: piece.headers,
                payload: piece.payload,
            };
            match self.publish(message, Stream::Events).await? {
                Published::Stored => {}
                Published::Full => return Err(Error::LogFull { subject }),
                Published::NoStream => {
                    let cause = Cause::from("no stream takes it");
                    return Err(Error::server("appending to", subject, cause));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn read(&self, run: RunId, after: u64) -> Result<EventReader, Error> {
        self.open()?;
        Ok(EventReader {
            nats: self.clone(),
            subject: self.0.subjects.events(run),
            after,
            assembler: Assembler::default(),
            ready: VecDeque::new(),
            next_sequence: 1,
            source: None,
            pull: None,
            pull_wait: PULL_WAIT,
            failing_since: None,
            connections: self.0.connections.clone(),
        })
    }

    pub(crate) async fn snapshot(&self, run: RunId) -> Result<Vec<Bytes>, Error> {
        let mut reader = self.read(run, 0)?;
        reader.pull_wait = SNAPSHOT_WAIT;
        reader.rest().await
    }

    pub(crate) async fn forget(&self, run: RunId) -> Result<(), Error> {
        self.open()?;
        let subject = self.0.subjects.events(run);
        let failed = |error: Cause| Error::server("forgetting", subject.clone(), error);
        let stream = self
            .0
            .jetstream
            .get_stream_no_info(self.0.subjects.events_stream())
            .await
            .map_err(|error| failed(error.into()))?;
        let purged = stream.purge().filter(subject.clone()).await;
        purged.map(|_| ()).map_err(|error| failed(error.into()))
    }
}

/// A consumer on the server.
struct Source {
    consumer: PullConsumer,
    /// Number of the last message that it delivered.
    delivered: u64,
}

/// Reads one run's event log.
pub(crate) struct EventReader {
    nats: Nats,
    subject: String,
    after: u64,
    assembler: Assembler,
    ready: VecDeque<(u64, Bytes)>,
    next_sequence: u64,
    source: Option<Source>,
    pull: Option<Batch>,
    pull_wait: Duration,
    failing_since: Option<Instant>,
    connections: watch::Receiver<u64>,
}

impl std::fmt::Debug for EventReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventReader").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl EventReader {
    /// All state is in the reader, and no await comes between taking a message and keeping it.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, Error> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            if self.nats.0.closed.is_cancelled() {
                return Ok(None);
            }
            self.step().await?;
        }
    }

    /// What is there now, up to the last message that the stream's leader has. The consumer cannot
    /// say: it may be on a server that was away, and sees an end where that server's copy ends.
    async fn rest(mut self) -> Result<Vec<Bytes>, Error> {
        let last = self.last_sequence().await?;
        self.rest_until(last).await
    }

    async fn rest_until(mut self, mut last: u64) -> Result<Vec<Bytes>, Error> {
        let mut entries = Vec::new();
        let (mut bytes, mut seen) = (0, self.next_sequence);
        let mut until = Instant::now() + RECOVER_WITHIN;
        while self.next_sequence <= last {
            self.nats.open()?;
            let was_pulling = self.pull.is_some();
            self.step().await?;
            while let Some((_, body)) = self.ready.pop_front() {
                bytes += body.len();
                entries.push(body);
            }
            if bytes > SNAPSHOT_BYTES_MAX {
                let (subject, bytes_max) = (self.subject.clone(), SNAPSHOT_BYTES_MAX);
                return Err(Error::TooLarge { subject, bytes, bytes_max });
            }
            if seen < self.next_sequence {
                seen = self.next_sequence;
                until = Instant::now() + RECOVER_WITHIN;
            } else if Instant::now() > until {
                let cause = Cause::from("its last messages do not come");
                return Err(Error::server("reading", &self.subject, cause));
            } else if was_pulling && self.pull.is_none() {
                // That server is behind, or somebody forgot the log.
                self.restart();
                last = self.last_sequence().await?;
            }
        }
        Ok(entries)
    }

    /// Number of the log's last message, as its stream's leader has it; 0 for an empty log.
    async fn last_sequence(&mut self) -> Result<u64, Error> {
        loop {
            match self.ask_last_sequence().await {
                Ok(last) => {
                    self.failing_since = None;
                    return Ok(last);
                }
                Err(error) => self.failed(error).await?,
            }
        }
    }

    async fn ask_last_sequence(&self) -> Result<u64, Cause> {
        let stream = self.nats.0.subjects.events_stream();
        let stream = self.nats.0.jetstream.get_stream_no_info(stream).await?;
        match stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(message) => Ok(message.sequence),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// One step forward: a consumer, a pull or a message.
    async fn step(&mut self) -> Result<(), Error> {
        let Some(source) = &self.source else {
            return self.open().await;
        };
        let Some(pull) = &mut self.pull else {
            let request = source.consumer.batch().max_messages(PULL_MESSAGES);
            match request.expires(self.pull_wait).messages().await {
                Ok(pull) => self.pull = Some(pull),
                Err(error) => return self.failed(error.into()).await,
            }
            return Ok(());
        };
        let message = tokio::select! {
            message = pull.next() => message,
            // The pull went down with the old connection, and maybe the consumer with the server.
            _ = self.connections.changed() => {
                self.restart();
                return Ok(());
            }
            () = self.nats.0.closed.cancelled() => return Ok(()),
        };
        match message {
            Some(Ok(message)) => self.accept(&message),
            Some(Err(error)) => return self.failed(error).await,
            None => self.pull = None,
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Error> {
        self.connections.mark_unchanged();
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next_sequence },
            ack_policy: AckPolicy::None,
            filter_subject: self.subject.clone(),
            inactive_threshold: CONSUMER_IDLE_MAX,
            // It is as easily made anew as kept: no file, no replicas.
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let stream = self.nats.0.subjects.events_stream();
        let jetstream = &self.nats.0.jetstream;
        match jetstream.create_consumer_on_stream(config, stream).await {
            Ok(consumer) => {
                let consumer: PullConsumer = consumer;
                let info = consumer.cached_info();
                if info.config.filter_subject != self.subject {
                    return Err(Error::Unsuitable {
                        asset: info.name.clone(),
                        field: "filter_subject",
                        actual: info.config.filter_subject.clone(),
                        needed: self.subject.clone(),
                    });
                }
                self.source = Some(Source { delivered: 0, consumer });
                self.failing_since = None;
                Ok(())
            }
            Err(error) => self.failed(error.into()).await,
        }
    }

    fn accept(&mut self, message: &async_nats::jetstream::Message) {
        let (Ok(info), Some(source)) = (message.info(), &mut self.source) else {
            self.restart();
            return;
        };
        if info.consumer_sequence != source.delivered + 1 {
            tracing::debug!(nats.subject = self.subject, "a message was lost on its way");
            self.restart();
            return;
        }
        source.delivered = info.consumer_sequence;
        // A server that is behind begins where its copy ends, before what was asked for.
        if info.stream_sequence < self.next_sequence {
            return;
        }
        self.next_sequence = info.stream_sequence + 1;
        let complete = self.assembler.push(message.headers.as_ref(), message.payload.clone());
        let after = self.after;
        self.ready.extend(complete.into_iter().filter(|(position, _)| *position > after));
    }

    fn restart(&mut self) {
        self.pull = None;
        self.source = None;
    }

    async fn failed(&mut self, cause: Cause) -> Result<(), Error> {
        self.restart();
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() > RECOVER_WITHIN {
            self.failing_since = None;
            return Err(Error::server("reading", &self.subject, cause));
        }
        tracing::debug!(nats.subject = self.subject, error = %cause, "reading anew");
        tokio::time::sleep(RETRY_AFTER).await;
        Ok(())
    }
}

impl Drop for EventReader {
    /// The server would remove the consumer by itself, a minute later.
    fn drop(&mut self) {
        let (Some(source), Ok(runtime)) =
            (self.source.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let nats = self.nats.clone();
        runtime.spawn(async move {
            let name = &source.consumer.cached_info().name;
            let stream = nats.0.subjects.events_stream();
            let deleted = nats.0.jetstream.delete_consumer_from_stream(name, stream);
            if let Err(error) = deleted.await {
                tracing::debug!(error = %error, "a consumer was left to the server");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::Settings;
    use testkit::nats::Server;
    use uuid::Uuid;

    /// An API reads a run's log while a scheduler archives and forgets it.
    #[tokio::test]
    async fn a_snapshot_ends_when_its_log_is_forgotten_meanwhile() {
        let server = Server::start().await.unwrap();
        let connecting = Nats::connect(Settings::new(server.url()));
        let nats = Box::pin(connecting).await.unwrap();
        let run = RunId(Uuid::now_v7());
        let entries = vec![("a".to_owned(), Bytes::from("a")), ("b".to_owned(), Bytes::from("b"))];
        nats.append(run, entries).await.unwrap();
        let mut reader = nats.read(run, 0).unwrap();
        reader.pull_wait = SNAPSHOT_WAIT;
        let last = reader.last_sequence().await.unwrap();
        assert!(last > 0, "it knows what is to come");
        nats.forget(run).await.unwrap();
        let surely = Duration::from_secs(30);
        let rest = tokio::time::timeout(surely, reader.rest_until(last));
        assert_eq!(rest.await.expect("it ends").unwrap(), Vec::<Bytes>::new());
    }

    /// A reader that makes another consumer, on a server whose copy ends earlier, gets from there.
    #[tokio::test]
    async fn what_comes_again_is_not_counted_again() {
        let server = Server::start().await.unwrap();
        let nats = Box::pin(Nats::connect(Settings::new(server.url()))).await.unwrap();
        let run = RunId(Uuid::now_v7());
        let append = async |name: &str| {
            let entry = (name.to_owned(), Bytes::from(name.to_owned()));
            nats.append(run, vec![entry]).await.unwrap();
        };
        append("a").await;
        let mut reader = nats.read(run, 0).unwrap();
        assert_eq!(reader.next().await.unwrap(), Some((1, Bytes::from("a"))));
        // As if it had seen "b" on another server; the consumer is to begin behind it.
        reader.restart();
        reader.next_sequence += 1;
        reader.step().await.unwrap();
        append("b").await;
        append("c").await;
        assert_eq!(reader.next().await.unwrap(), Some((2, Bytes::from("c"))));
    }
}
