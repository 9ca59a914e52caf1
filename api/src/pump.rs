//! Streams to clients: a task that writes into a short channel, so that a client that does not
//! read is noticed and dropped instead of being buffered for.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces that may wait for a client.
const CHANNEL_PIECES: usize = 32;

/// A client that takes nothing for this long is dropped; it can come back with its position.
pub(crate) const SLOW: Duration = Duration::from_secs(30);

/// How often a silent stream shows that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// The writing end of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Sink(mpsc::Sender<Bytes>);

/// The client is gone, or does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Sink {
    /// Writes a piece.
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        match tokio::time::timeout(SLOW, self.0.send(piece.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Returns once the client is gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A stream's two ends.
pub(crate) fn stream() -> (Sink, Body) {
    let (sender, receiver) = mpsc::channel(CHANNEL_PIECES);
    let pieces = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    (Sink(sender), Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_dropped() {
        let (sink, body) = stream();
        for _ in 0..CHANNEL_PIECES {
            assert_eq!(sink.send("x").await, Ok(()));
        }
        assert_eq!(sink.send("x").await, Err(Gone));
        drop(body);
        sink.closed().await;
    }
}
