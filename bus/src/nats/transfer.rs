//! Bodies that do not fit into a message.
//!
//! The holder keeps the body in its *depot* and sends an offer: length, SHA-256, and the subject
//! where pieces can be asked for. The receiver asks for each piece by number, a few at a time:
//!
//! ```text
//! holder ── offer (length, digest, source) ──▶ receiver
//!        ◀───────── source: "0", "1", "2" ────
//!        ── piece 0, 1, 2, each to its own reply subject ──▶
//!        ◀───────────────── source: "done" ───
//! ```
//! The receiver sets the pace, so that no connection ever has more on its way than it asked for
//! (a server cuts off a client for which 64 MiB wait). Each piece answers one question, so pieces
//! of different bodies cannot mix, and a lost one is simply asked for again.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Role, lock};
use crate::subjects::Subjects;
use crate::{BODY_BYTES_MAX, Error, entry};

/// Bodies up to this size travel in one message. Small, because the server of a service cannot
/// choose when such a message comes: thousands may wait in its connection.
pub(super) const INLINE_BYTES_MAX: usize = 128 * 1024;

/// One piece; with its headers well below NATS's usual limit of 1 MiB.
const PIECE_BYTES: usize = 512 * 1024;

/// Pieces of one body on their way at a time: enough to hide the round trip.
const PIECES_AT_ONCE: usize = 4;

/// Pieces on their way to this process at a time, a quarter of what a server lets wait.
const PIECES_AT_ONCE_IN_PROCESS: usize = 32;

/// Waiting for one piece before asking again.
const PIECE_WITHIN: Duration = Duration::from_secs(5);

/// How often a piece is asked for.
const PIECE_TRIES: u32 = 4;

/// A body that nobody asked a piece of for this long is given up.
const IDLE_MAX: Duration = Duration::from_secs(15);

const OFFER: &str = "Fc-Offer";
const SOURCE: &str = "Fc-Source";
const GONE: &str = "Fc-Gone";
const ECHO: &str = "echo";
const DONE: &[u8] = b"done";

/// What this process offers, and its right to fetch from others.
#[derive(Debug)]
pub(super) struct Depot {
    /// Under it, each offer has a subject.
    base: String,
    offers: Arc<Offers>,
    tokens: AtomicU64,
    client: Client,
    subjects: Subjects,
    fetching: Arc<Semaphore>,
}

type Offers = Mutex<HashMap<String, Arc<Offered>>>;

#[derive(Debug)]
struct Offered {
    body: Bytes,
    /// Counts questions: a change means that somebody is there.
    asked: AtomicU64,
    done: Notify,
}

/// An offer stands while this lives.
#[derive(Debug)]
pub(super) struct Offer {
    token: String,
    offers: Arc<Offers>,
    offered: Arc<Offered>,
    pub(super) headers: HeaderMap,
}

impl Drop for Offer {
    fn drop(&mut self) {
        lock(&self.offers).remove(&self.token);
    }
}

impl Offer {
    /// Waits until the other side has everything, or seems to have gone.
    pub(super) async fn taken(&self) -> bool {
        let mut asked = self.offered.asked.load(Ordering::Relaxed);
        loop {
            let done = self.offered.done.notified();
            if tokio::time::timeout(IDLE_MAX, done).await.is_ok() {
                return true;
            }
            let now = self.offered.asked.load(Ordering::Relaxed);
            if now == asked {
                return false;
            }
            asked = now;
        }
    }
}

impl Depot {
    pub(super) async fn open(
        client: &Client,
        subjects: &Subjects,
        role: &Role,
        closed: &CancellationToken,
    ) -> Result<Self, Error> {
        // Unguessable: whoever knows the subject of an offer can read it.
        let inbox = client.new_inbox();
        let base = match role {
            // Workers may publish there, and nowhere in an owner's inbox.
            Role::Owner => subjects.pull(inbox.rsplit('.').next().unwrap_or(&inbox)),
            Role::Worker { .. } => inbox,
        };
        let all = format!("{base}.*");
        let subscriber = client
            .subscribe(all.clone())
            .await
            .map_err(|error| Error::server("subscribing to", all, error))?;
        let offers = Arc::default();
        let answering = answer(client.clone(), subscriber, Arc::clone(&offers));
        let closed = closed.clone();
        tokio::spawn(async move {
            closed.run_until_cancelled(answering).await;
        });
        Ok(Self {
            base,
            offers,
            tokens: AtomicU64::new(0),
            client: client.clone(),
            subjects: subjects.clone(),
            fetching: Arc::new(Semaphore::new(PIECES_AT_ONCE_IN_PROCESS)),
        })
    }

    /// A subject that answers: for finding out whether the server does.
    pub(super) fn echo(&self) -> String {
        format!("{}.{ECHO}", self.base)
    }

    pub(super) async fn offer(&self, body: Bytes) -> Result<Offer, Error> {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let token = format!("{number}-{:016x}", rand::random::<u64>());
        let digest = digest(body.clone()).await?;
        let mut headers = HeaderMap::new();
        headers.insert(OFFER, format!("{} {digest}", body.len()));
        headers.insert(SOURCE, format!("{}.{token}", self.base));
        let offered = Arc::new(Offered { body, asked: AtomicU64::new(0), done: Notify::new() });
        lock(&self.offers).insert(token.clone(), Arc::clone(&offered));
        Ok(Offer { token, offers: Arc::clone(&self.offers), offered, headers })
    }

    /// The body of a message: what is in it, or what it offers.
    pub(super) async fn receive(&self, message: Message) -> Result<Bytes, Error> {
        let Some(offer) = message.headers.as_ref().and_then(|all| all.get(OFFER)) else {
            return Ok(message.payload);
        };
        let subject = message.subject.to_string();
        let source = message.headers.as_ref().and_then(|all| all.get(SOURCE));
        let (bytes, expected) = parse(offer.as_str()).ok_or_else(|| damaged(&subject))?;
        // A sender must not make us publish wherever it likes.
        let source = source
            .map(|source| source.as_str().to_owned())
            .filter(|source| self.subjects.is_source(source))
            .ok_or_else(|| damaged(&subject))?;
        if bytes > BODY_BYTES_MAX {
            return Err(Error::TooLarge { subject, bytes, bytes_max: BODY_BYTES_MAX });
        }
        let body = self.fetch(&source, bytes).await?;
        if digest(body.clone()).await? != expected {
            return Err(Error::Damaged { subject, reason: "the body has another digest" });
        }
        // When this is lost the holder gives up by itself.
        let _ = self.client.publish(source, Bytes::from_static(DONE)).await;
        Ok(body)
    }

    async fn fetch(&self, source: &str, bytes: usize) -> Result<Bytes, Error> {
        let questions = (0..bytes.div_ceil(PIECE_BYTES)).map(|number| {
            piece(self.client.clone(), Arc::clone(&self.fetching), source.to_owned(), number)
        });
        let mut pieces = futures::stream::iter(questions).buffered(PIECES_AT_ONCE);
        let mut body = BytesMut::with_capacity(bytes);
        while let Some(piece) = pieces.try_next().await? {
            if body.len() + piece.len() > bytes {
                break;
            }
            body.extend_from_slice(&piece);
        }
        if body.len() != bytes {
            return Err(Error::Damaged {
                subject: source.to_owned(),
                reason: "the pieces are not as long as the body",
            });
        }
        Ok(body.freeze())
    }
}

/// Not on a thread of the runtime: 32 MiB take tens of milliseconds.
async fn digest(body: Bytes) -> Result<String, Error> {
    let digest = tokio::task::spawn_blocking(move || entry::hex(&entry::digest(&body)));
    digest.await.map_err(|_| Error::Closed)
}

fn damaged(subject: &str) -> Error {
    Error::Damaged { subject: subject.to_owned(), reason: "the offer of a large body is malformed" }
}

fn parse(offer: &str) -> Option<(usize, String)> {
    let (bytes, digest) = offer.split_once(' ')?;
    Some((usize::from_str(bytes).ok()?, digest.to_owned()))
}

async fn piece(
    client: Client,
    fetching: Arc<Semaphore>,
    source: String,
    number: usize,
) -> Result<Bytes, Error> {
    // Never closed.
    let _permit = fetching.acquire().await.map_err(|_| Error::Closed)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let request =
            Request::new().payload(Bytes::from(number.to_string())).timeout(Some(PIECE_WITHIN));
        match client.send_request(source.clone(), request).await {
            Ok(answer) if answer.headers.is_none() => return Ok(answer.payload),
            Ok(_) => {
                return Err(Error::Damaged { subject: source, reason: "the sender has given up" });
            }
            Err(error) if tries < PIECE_TRIES => {
                tracing::debug!(error = %error, "asking for a piece again");
                // Right after a reconnect the other side may not be reachable yet.
                if error.kind() == RequestErrorKind::NoResponders {
                    tokio::time::sleep(Duration::from_millis(100) * tries).await;
                }
            }
            Err(error) => return Err(Error::server("fetching from", source, error)),
        }
    }
}

/// Answers questions for pieces.
async fn answer(client: Client, mut questions: async_nats::Subscriber, offers: Arc<Offers>) {
    while let Some(question) = questions.next().await {
        let token = question.subject.rsplit('.').next().unwrap_or_default();
        let offered = lock(&offers).get(token).cloned();
        if question.payload == DONE {
            if let Some(offered) = offered {
                offered.done.notify_one();
            }
            continue;
        }
        let Some(reply) = question.reply else {
            continue;
        };
        let piece = offered.and_then(|offered| {
            offered.asked.fetch_add(1, Ordering::Relaxed);
            cut(&offered.body, &question.payload)
        });
        let sent = match piece {
            Some(piece) => client.publish(reply, piece).await,
            None if token == ECHO => client.publish(reply, Bytes::new()).await,
            None => {
                let mut headers = HeaderMap::new();
                headers.insert(GONE, "1");
                client.publish_with_headers(reply, headers, Bytes::new()).await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(error = %error, "a piece could not be sent");
        }
    }
}

fn cut(body: &Bytes, question: &[u8]) -> Option<Bytes> {
    let number = usize::from_str(std::str::from_utf8(question).ok()?).ok()?;
    let start = number.checked_mul(PIECE_BYTES)?;
    if start >= body.len() {
        return None;
    }
    let end = start.saturating_add(PIECE_BYTES).min(body.len());
    Some(body.slice(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_body() {
        let body = Bytes::from(vec![7; PIECE_BYTES * 2 + 1]);
        let lengths: Vec<_> = (0..4)
            .map(|number| cut(&body, number.to_string().as_bytes()).map(|piece| piece.len()))
            .collect();
        assert_eq!(lengths, [Some(PIECE_BYTES), Some(PIECE_BYTES), Some(1), None]);
        assert!(cut(&body, b"x").is_none());
        assert!(cut(&body, usize::MAX.to_string().as_bytes()).is_none());
        assert_eq!(parse("12 ab"), Some((12, "ab".to_owned())));
        assert_eq!(parse("12"), None);
    }
}
