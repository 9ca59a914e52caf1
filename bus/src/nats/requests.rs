//! Requests: core NATS request and reply through a queue group; large bodies are offered.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, RequestErrorKind, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::Nats;
use super::transfer::INLINE_BYTES_MAX;
use crate::{BODY_BYTES_MAX, Error, Request, Service, bus};

/// Most requests that one server may have in hand.
const CONCURRENCY_MAX: usize = 4096;

/// How long a server fetches a large request: longer than anybody waits for the answer.
const FETCH_WITHIN: Duration = Duration::from_secs(60);

/// So many requests more a server takes that leaves while they keep coming. The NATS server counts
/// them and then sends no more, so none is lost.
const LEAVING_MAX: u64 = 64;

/// Where none comes for this long, none is under way.
const LEAVING_QUIET: Duration = Duration::from_millis(100);

/// Marks an answer that is none.
const DROPPED: &str = "Fc-Dropped";

impl Nats {
    pub(crate) async fn request(
        &self,
        service: Service,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        self.open()?;
        let subject = self.0.subjects.service(service);
        check_size(&subject, &body)?;
        let exchange = self.exchange(&subject, body, timeout);
        tokio::select! {
            () = self.0.closed.cancelled() => Err(Error::Closed),
            answer = tokio::time::timeout(timeout, exchange) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(Error::TimedOut { subject, after: timeout }),
            },
        }
    }

    async fn exchange(&self, subject: &str, body: Bytes, within: Duration) -> Result<Bytes, Error> {
        let mut request = async_nats::Request::new().timeout(Some(within));
        // Lives until the answer is there: the server fetches the body from it.
        let mut offer = None;
        if body.len() > INLINE_BYTES_MAX {
            let made = offer.insert(self.0.depot.offer(body).await?);
            request = request.headers(made.headers.clone());
        } else {
            request = request.payload(body);
        }
        let answer = self.0.client.send_request(subject.to_owned(), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Error::NoServer { subject: subject.to_owned() },
            RequestErrorKind::TimedOut => {
                Error::TimedOut { subject: subject.to_owned(), after: within }
            }
            _ => Error::server("asking", subject, error),
        })?;
        drop(offer);
        if answer.headers.as_ref().is_some_and(|all| all.get(DROPPED).is_some()) {
            return Err(Error::Dropped { subject: subject.to_owned() });
        }
        self.0.depot.receive(answer).await
    }

    pub(crate) async fn serve(
        &self,
        service: Service,
        concurrency: usize,
    ) -> Result<Requests, Error> {
        self.open()?;
        let subject = self.0.subjects.service(service);
        let group = self.0.subjects.servers().to_owned();
        let subscriber = self
            .0
            .client
            .queue_subscribe(subject.clone(), group)
            .await
            .map_err(|error| Error::server("subscribing to", subject, error))?;
        // From here on the server knows us.
        self.round_trip().await?;
        let concurrency = concurrency.clamp(1, CONCURRENCY_MAX);
        let (sender, receiver) = mpsc::channel(concurrency);
        let leaving = CancellationToken::new();
        let pump = pump(self.clone(), subscriber, leaving.clone(), concurrency, sender);
        Ok(Requests { receiver, leaving, pump: tokio::spawn(pump).abort_handle() })
    }
}

fn check_size(subject: &str, body: &Bytes) -> Result<(), Error> {
    if body.len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::TooLarge {
        subject: subject.to_owned(),
        bytes: body.len(),
        bytes_max: BODY_BYTES_MAX,
    })
}

/// How far a server has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    Leaving,
    Left,
}

/// Takes requests as long as there are permits. Each is prepared by a task of its own, so that a
/// large one does not hold up the others. One that leaves takes what is under way: the library gives
/// up a drained subscription with whatever it has not read of it yet, so that comes last.
async fn pump(
    nats: Nats,
    mut subscriber: async_nats::Subscriber,
    leaving: CancellationToken,
    concurrency: usize,
    sender: mpsc::Sender<Request>,
) {
    let permits = Arc::new(Semaphore::new(concurrency));
    let closed = nats.0.closed.clone();
    let (mut stage, mut received) = (Stage::Serving, 0);
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let left = tokio::select! {
            biased;
            () = closed.cancelled() => return,
            () = leaving.cancelled(), if stage == Stage::Serving => {
                stage = Stage::Leaving;
                subscriber.unsubscribe_after(received + LEAVING_MAX).await
            }
            message = subscriber.next() => {
                let Some(message) = message else {
                    return;
                };
                received += 1;
                tokio::spawn(prepare(nats.clone(), message, permit, sender.clone()));
                continue;
            }
            // Last: only where no message is there.
            () = quiet(&nats), if stage == Stage::Leaving => {
                stage = Stage::Left;
                subscriber.drain().await
            }
        };
        if let Err(error) = left {
            tracing::debug!(error = %error, "a subscription is gone already");
            return;
        }
    }
}

/// Nothing came for a while, and what the server had sent by its end has been read.
async fn quiet(nats: &Nats) {
    tokio::time::sleep(LEAVING_QUIET).await;
    let _unreachable = nats.round_trip().await;
}

async fn prepare(
    nats: Nats,
    mut message: Message,
    permit: OwnedSemaphorePermit,
    sender: mpsc::Sender<Request>,
) {
    let Some(to) = message.reply.take() else {
        return; // Nobody waits for an answer.
    };
    let subject = message.subject.to_string();
    let reply = Reply { to: Some(to), nats: nats.clone(), _permit: permit };
    let receive = Box::pin(nats.0.depot.receive(message));
    match tokio::time::timeout(FETCH_WITHIN, receive).await {
        Ok(Ok(body)) => {
            // There is room for every permit; a server that is gone drops the request.
            let _ = sender.send(Request { body, reply: bus::Reply::Nats(reply) }).await;
        }
        Ok(Err(error)) => {
            tracing::warn!(nats.subject = subject, error = %error, "a request was not received");
        }
        Err(_) => tracing::warn!(nats.subject = subject, "a request took too long to receive"),
    }
}

/// One server's share of the requests.
#[derive(Debug)]
pub(crate) struct Requests {
    receiver: mpsc::Receiver<Request>,
    leaving: CancellationToken,
    pump: AbortHandle,
}

impl Requests {
    pub(crate) async fn next(&mut self) -> Option<Request> {
        self.receiver.recv().await
    }

    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// The way back.
pub(crate) struct Reply {
    to: Option<Subject>,
    nats: Nats,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) async fn respond(mut self, body: Bytes) -> Result<(), Error> {
        check_size("a reply", &body)?;
        let Some(to) = self.to.take() else {
            return Ok(());
        };
        let client = &self.nats.0.client;
        let failed = |error| Error::server("answering", "a request", error);
        if body.len() <= INLINE_BYTES_MAX {
            return client.publish(to, body).await.map_err(failed);
        }
        let offer = self.nats.0.depot.offer(body).await?;
        let headers = offer.headers.clone();
        client.publish_with_headers(to, headers, Bytes::new()).await.map_err(failed)?;
        if !offer.taken().await {
            tracing::debug!("nobody fetched a large answer");
        }
        Ok(())
    }
}

impl Drop for Reply {
    /// Whoever asked should not wait for an answer that never comes.
    fn drop(&mut self) {
        let Some(to) = self.to.take() else {
            return;
        };
        let client = self.nats.0.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut headers = HeaderMap::new();
                headers.insert(DROPPED, "1");
                let _ = client.publish_with_headers(to, headers, Bytes::new()).await;
            });
        }
    }
}
