//! Publishing into a stream: acked, repeated under one id until it is.

use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind, header};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Nats, Role};
use crate::{Cause, Error, Queue};

/// How long one publish is tried. Long enough for a server that restarts.
const PUBLISH_WITHIN: Duration = Duration::from_secs(20);

/// Waiting for one ack. A connection that was lost takes the ack along, which is noticed apart.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// Pause before a publish that found no stream is tried again: JetStream may be starting.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The server's code for a stream that takes no more.
const STORE_FAILED: u64 = 10077;

/// The server's answer to a publish.
#[derive(Deserialize)]
struct Ack {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// How a publish ended, as far as its caller can do something about it.
#[derive(Debug)]
pub(super) enum Published {
    Stored,
    /// The stream is at its limit.
    Full,
    /// No stream takes the subject.
    NoStream,
}

/// The stream that a message is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream<'a> {
    Queue(&'a Queue),
    Events,
}

/// One message for a stream.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Nats {
    /// Publishes until it is stored, refused or too late. A repetition carries the same id, so
    /// the server stores one.
    pub(super) async fn publish(
        &self,
        message: Message,
        stream: Stream<'_>,
    ) -> Result<Published, Error> {
        let until = Instant::now() + PUBLISH_WITHIN;
        loop {
            self.open()?;
            let failure = match self.publish_once(&message).await {
                Ok(Published::NoStream) => {
                    self.remake(stream).await?;
                    None
                }
                Ok(published) => return Ok(published),
                Err(error) => Some(error),
            };
            if Instant::now() >= until {
                let missing = Published::NoStream;
                return failure.map_or(Ok(missing), Err);
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// The server does not know a stream that was there: it starts, or its data was lost.
    async fn remake(&self, stream: Stream<'_>) -> Result<(), Error> {
        let made = match stream {
            Stream::Queue(queue) => {
                self.doubt(&self.0.subjects.queue_stream(queue)?);
                self.ensure_queue(queue).await
            }
            Stream::Events if self.0.settings.role == Role::Owner => self.ensure_events().await,
            Stream::Events => Ok(()),
        };
        match made {
            // It may be a server that starts, or one that lost its leader: try on.
            Err(error) if error.is_transient() => {
                tracing::debug!(error = %error, "a stream could not be made yet");
                Ok(())
            }
            made => made,
        }
    }

    async fn publish_once(&self, message: &Message) -> Result<Published, Error> {
        let mut headers = message.headers.clone();
        headers.insert(header::NATS_MESSAGE_ID, message.id.as_str());
        let request = Request::new()
            .headers(headers)
            .payload(message.payload.clone())
            .timeout(Some(ACK_WITHIN));
        let mut connections = self.0.connections.clone();
        connections.mark_unchanged();
        let subject = &message.subject;
        let answer = tokio::select! {
            answer = self.0.client.send_request(subject.clone(), request) => answer,
            // The ack may have been lost with the old connection. (The sender lives as long as
            // the client, so this is a new connection.)
            _ = connections.changed() => return Err(timed_out(subject)),
            () = tokio::time::sleep(ACK_WITHIN) => return Err(timed_out(subject)),
        };
        match answer {
            Ok(answer) => judge(subject, &answer.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(Published::NoStream),
            Err(error) if error.kind() == RequestErrorKind::TimedOut => Err(timed_out(subject)),
            Err(error) => Err(Error::server("publishing to", subject, error)),
        }
    }
}

fn timed_out(subject: &str) -> Error {
    Error::TimedOut { subject: subject.to_owned(), after: ACK_WITHIN }
}

fn judge(subject: &str, answer: &[u8]) -> Result<Published, Error> {
    let ack: Ack = crate::wire::decode(subject, answer)?;
    match ack.error {
        None => Ok(Published::Stored),
        Some(refusal)
            if refusal.err_code == STORE_FAILED && refusal.description.contains("maximum") =>
        {
            Ok(Published::Full)
        }
        Some(refusal) => {
            let said = format!("{} ({})", refusal.description, refusal.err_code);
            Err(Error::server("publishing to", subject, Cause::from(said)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let stored = br#"{"stream":"S","seq":1,"duplicate":true}"#;
        assert!(matches!(judge("s", stored), Ok(Published::Stored)));
        let full = br#"{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}"#;
        assert!(matches!(judge("s", full), Ok(Published::Full)));
        let other = br#"{"error":{"code":400,"err_code":10071,"description":"x"}}"#;
        assert!(matches!(judge("s", other), Err(Error::Server { .. })));
    }
}
