//! Requests inside this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::lock;
use crate::{BODY_BYTES_MAX, Error, Request, Service, bus};

/// Requests of one service that wait for a server; further ones wait outside.
const WAITING_MAX: usize = 4096;

/// Connects those who ask with those who serve.
#[derive(Debug)]
pub(super) struct Hub {
    counters: Mutex<HashMap<Service, Arc<Counter>>>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Counter {
    sender: mpsc::Sender<Asked>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Asked>>,
    servers: AtomicUsize,
}

#[derive(Debug)]
struct Asked {
    body: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl Hub {
    pub(super) fn new(closed: CancellationToken) -> Self {
        Self { counters: Mutex::default(), closed }
    }

    fn counter(&self, service: Service) -> Arc<Counter> {
        let mut counters = lock(&self.counters);
        let counter = counters.entry(service).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            Arc::new(Counter {
                sender,
                receiver: tokio::sync::Mutex::new(receiver),
                servers: AtomicUsize::new(0),
            })
        });
        Arc::clone(counter)
    }

    pub(super) async fn request(
        &self,
        service: Service,
        subject: String,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        check_size(&subject, &body)?;
        let counter = self.counter(service);
        if counter.servers.load(Ordering::Acquire) == 0 {
            return Err(Error::NoServer { subject });
        }
        let (answer, answered) = oneshot::channel();
        let ask = async {
            // The counter holds its receiver: the channel closes with the bus only.
            let _ = counter.sender.send(Asked { body, answer }).await;
            answered.await
        };
        tokio::select! {
            () = self.closed.cancelled() => Err(Error::Closed),
            answer = tokio::time::timeout(timeout, ask) => match answer {
                Ok(Ok(body)) => Ok(body),
                Ok(Err(_)) => Err(Error::Dropped { subject }),
                Err(_) => Err(Error::TimedOut { subject, after: timeout }),
            },
        }
    }

    pub(super) fn serve(&self, service: Service, concurrency: usize) -> Requests {
        let counter = self.counter(service);
        counter.servers.fetch_add(1, Ordering::AcqRel);
        Requests {
            counter,
            has_left: AtomicBool::new(false),
            permits: Arc::new(Semaphore::new(concurrency.clamp(1, WAITING_MAX))),
            closed: self.closed.clone(),
        }
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

/// One server's share of the requests.
#[derive(Debug)]
pub(crate) struct Requests {
    counter: Arc<Counter>,
    has_left: AtomicBool,
    permits: Arc<Semaphore>,
    closed: CancellationToken,
}

impl Requests {
    pub(crate) async fn next(&mut self) -> Option<Request> {
        if self.has_left.load(Ordering::Acquire) {
            return self.take_waiting().await;
        }
        tokio::select! {
            () = self.closed.cancelled() => None,
            request = Self::take(&self.counter, &self.permits) => request,
        }
    }

    /// Whoever asks from now on finds another server, or none.
    pub(crate) fn leave(&self) {
        if !self.has_left.swap(true, Ordering::AcqRel) {
            self.counter.servers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// What was asked before, when there is no other server for it.
    async fn take_waiting(&mut self) -> Option<Request> {
        if self.counter.servers.load(Ordering::Acquire) > 0 {
            return None;
        }
        let next = Self::take(&self.counter, &self.permits);
        // Biased: nobody else takes what waits.
        tokio::select! {
            biased;
            request = next => request,
            () = std::future::ready(()) => None,
        }
    }

    /// Every step gives back what it took when it is cancelled, so no request is lost.
    async fn take(counter: &Counter, permits: &Arc<Semaphore>) -> Option<Request> {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        let mut receiver = counter.receiver.lock().await;
        loop {
            let asked = receiver.recv().await?;
            if asked.answer.is_closed() {
                continue; // Nobody waits for this one any more.
            }
            return Some(Request {
                body: asked.body,
                reply: bus::Reply::Memory(Reply { answer: asked.answer, _permit: permit }),
            });
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The way back.
#[derive(Debug)]
pub(crate) struct Reply {
    answer: oneshot::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Reply {
    pub(crate) fn respond(self, body: Bytes) -> Result<(), Error> {
        check_size("a reply", &body)?;
        // Whoever asked may have given up; that is no concern of the server.
        let _ = self.answer.send(body);
        Ok(())
    }
}
