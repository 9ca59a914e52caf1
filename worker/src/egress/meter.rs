//! A connection that is counted against the cell's bytes and ends when it is silent for too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// The bytes that all connections of a cell may move together.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    bytes_max: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { used: AtomicU64::new(0), bytes_max }
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("the cell moved more than {} bytes", self.bytes_max),
            ));
        }
        Ok(())
    }
}

/// The metered connection.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    budget: Arc<Budget>,
    idle_max: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Metered {
    pub(crate) fn new(stream: TcpStream, budget: Arc<Budget>, idle_max: Duration) -> Self {
        Self { stream, budget, idle_max, silence: Box::pin(sleep(idle_max)) }
    }

    fn heard(&mut self, bytes: usize) -> io::Result<()> {
        let until = Instant::now() + self.idle_max;
        self.silence.as_mut().reset(until);
        self.budget.take(bytes)
    }

    /// Both directions wait here, so that silence ends the connection whoever is silent.
    fn check_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.silence.as_mut().poll(cx).map(|()| {
            io::Error::new(io::ErrorKind::TimedOut, "the connection was silent for too long")
        })
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                Poll::Ready(self.heard(buffer.filled().len().saturating_sub(before)))
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
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => Poll::Ready(self.heard(written).map(|()| written)),
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
