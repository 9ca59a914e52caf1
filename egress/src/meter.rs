//! A connection that is counted and paced with all others of its cell, and ends when it is silent
//! for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proto::connection::ConnectionState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::Config;
use crate::bucket::Bucket;
use crate::ledger::Entry;

/// Which limit of the cell a connection ran into. Each names its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("the cell has moved more than {max} bytes (worker.egress.bytes_max)")]
    Bytes { max: u64 },
    #[error(
        "the cell opens more than {max} connections in a second \
         (worker.egress.connections_per_s_max)"
    )]
    Rate { max: u32 },
    #[error("the cell has {max} connections open already (worker.egress.connections_max)")]
    Connections { max: u32 },
    #[error("the connection was silent for {max} ms (worker.egress.idle_ms_max)")]
    Silence { max: u64 },
}

/// What all connections of a cell share.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    bytes_max: u64,
    connections_per_s_max: u32,
    opened: Mutex<Bucket>,
    /// `None`: as fast as it goes.
    moved: Option<Mutex<Bucket>>,
}

impl Budget {
    pub(crate) fn new(settings: &Config) -> Self {
        let now = Instant::now();
        let per_s = settings.bytes_per_s_max;
        Self {
            used: AtomicU64::new(0),
            bytes_max: settings.bytes_max,
            connections_per_s_max: settings.connections_per_s_max,
            opened: Mutex::new(Bucket::new(f64::from(settings.connections_per_s_max), now)),
            moved: (per_s > 0).then(|| Mutex::new(Bucket::new(tokens(per_s), now))),
        }
    }

    /// Whether the cell may open another connection now.
    pub(crate) fn open(&self) -> Result<(), Exceeded> {
        if !lock(&self.opened).take(Instant::now()) {
            return Err(Exceeded::Rate { max: self.connections_per_s_max });
        }
        self.check(self.used.load(Ordering::Relaxed))
    }

    fn charge(&self, bytes: u64) -> Result<(), Exceeded> {
        if let Some(moved) = &self.moved {
            lock(moved).charge(tokens(bytes), Instant::now());
        }
        self.check(self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes))
    }

    fn check(&self, used: u64) -> Result<(), Exceeded> {
        let max = self.bytes_max;
        if used > max { Err(Exceeded::Bytes { max }) } else { Ok(()) }
    }

    /// How long the cell has to pause before it may move anything.
    fn wait(&self) -> Option<Duration> {
        self.moved.as_ref().and_then(|moved| lock(moved).wait(Instant::now()))
    }
}

fn lock(bucket: &Mutex<Bucket>) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact to the byte")]
fn tokens(bytes: u64) -> f64 {
    bytes as f64
}

/// The metered connection. Its end is written down when it is dropped.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    budget: Arc<Budget>,
    entry: Arc<Entry>,
    idle_max: Duration,
    silence: Pin<Box<Sleep>>,
    reading: Pause,
    writing: Pause,
}

/// A wait for the byte rate, of one direction.
type Pause = Option<Pin<Box<Sleep>>>;

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

impl Metered {
    pub(crate) fn new(
        stream: TcpStream,
        budget: Arc<Budget>,
        entry: Arc<Entry>,
        idle_max: Duration,
    ) -> Self {
        let silence = Box::pin(sleep(idle_max));
        Self { stream, budget, entry, idle_max, silence, reading: None, writing: None }
    }

    /// Its line in the ledger.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    fn moved(&mut self, bytes: usize, direction: Direction) -> io::Result<()> {
        let until = Instant::now() + self.idle_max;
        self.silence.as_mut().reset(until);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match direction {
            Direction::Up => self.entry.sent(bytes),
            Direction::Down => self.entry.received(bytes),
        }
        self.budget.charge(bytes).map_err(|exceeded| self.cut(exceeded))
    }

    fn cut(&self, exceeded: Exceeded) -> io::Error {
        self.entry.end(ConnectionState::Cut, Some(exceeded.to_string()));
        io::Error::new(io::ErrorKind::QuotaExceeded, exceeded)
    }

    /// Both directions wait here, so that silence ends the connection whoever is silent.
    fn check_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let max = u64::try_from(self.idle_max.as_millis()).unwrap_or(u64::MAX);
        self.silence.as_mut().poll(cx).map(|()| self.cut(Exceeded::Silence { max }))
    }

    /// Ready when the cell owes no bytes. All its connections wait for the same debt.
    fn poll_turn(&mut self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        let Self { budget, reading, writing, .. } = self;
        let pause = match direction {
            Direction::Up => writing,
            Direction::Down => reading,
        };
        loop {
            if let Some(waiting) = pause {
                ready!(waiting.as_mut().poll(cx));
                *pause = None;
            }
            match budget.wait() {
                Some(wait) => *pause = Some(Box::pin(sleep(wait))),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.entry.end(ConnectionState::Closed, None);
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx, Direction::Down));
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled().len().saturating_sub(before);
                Poll::Ready(self.moved(bytes, Direction::Down))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.check_silence(cx).map(Err),
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx, Direction::Up));
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                Poll::Ready(self.moved(written, Direction::Up).map(|()| written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.check_silence(cx).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
