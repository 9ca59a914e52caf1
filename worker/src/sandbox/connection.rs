//! The frames of one slot, with their sizes.

use std::fmt;

use bytes::BytesMut;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use proto::frame::{Error, FrameCodec, FromRunner, ToRunner};
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, Encoder, Framed};

/// Bytes of a frame's header.
const HEADER_BYTES: u64 = 8;

/// A frame and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The frame.
    pub frame: FromRunner,
    /// Bytes of its payload.
    pub payload_bytes: u64,
}

/// [`FrameCodec`] that also tells how large a frame was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SizedCodec(FrameCodec);

impl Decoder for SizedCodec {
    type Item = Received;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Received>, Error> {
        let before = buffer.len();
        let Some(frame) = self.0.decode(buffer)? else { return Ok(None) };
        let taken = u64::try_from(before.saturating_sub(buffer.len())).unwrap_or(u64::MAX);
        Ok(Some(Received { frame, payload_bytes: taken.saturating_sub(HEADER_BYTES) }))
    }
}

impl Encoder<ToRunner> for SizedCodec {
    type Error = Error;

    fn encode(&mut self, frame: ToRunner, into: &mut BytesMut) -> Result<(), Error> {
        self.0.encode(&frame, into)
    }
}

type Whole = Framed<UnixStream, SizedCodec>;

/// Both directions, until the task is sent.
pub(crate) struct Connection(Whole);

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(Framed::new(stream, SizedCodec::default()))
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Option<Result<Received, Error>> {
        self.0.next().await
    }

    /// Sends one frame.
    pub(crate) async fn send(&mut self, frame: ToRunner) -> Result<(), Error> {
        self.0.send(frame).await
    }

    /// Reading and writing apart, with a limit for what is read from now on.
    pub(crate) fn split(mut self, payload_bytes_max: usize) -> (FrameReader, FrameWriter) {
        *self.0.codec_mut() = SizedCodec(FrameCodec::with_limit(payload_bytes_max));
        let (write, read) = self.0.split();
        (FrameReader(read), FrameWriter(write))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// What comes from the runner.
pub struct FrameReader(SplitStream<Whole>);

impl FrameReader {
    /// The next frame; `None` at the end of the stream. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<Received, Error>> {
        self.0.next().await
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameReader")
    }
}

/// What goes to the runner.
pub struct FrameWriter(SplitSink<Whole, ToRunner>);

impl FrameWriter {
    /// Sends one frame.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn send(&mut self, frame: ToRunner) -> Result<(), Error> {
        self.0.send(frame).await
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameWriter")
    }
}
