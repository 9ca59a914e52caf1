//! Framing: eight bytes of header, then JSON. Hostile input by definition: every length is checked
//! before a byte is buffered for it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use domain::limits::FRAME_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, Encoder};

use super::body::{CallBody, CellResult, Event, FailureBody, Log, Ready, ReplyBody, Task};

const MAGIC: [u8; 2] = *b"FC";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;

const TASK: u8 = 1;
const REPLY: u8 = 2;
const READY: u8 = 129;
const EVENT: u8 = 130;
const LOG: u8 = 131;
const CALL: u8 = 132;
const RESULT: u8 = 133;
const FAILURE: u8 = 134;

/// A frame to the runner.
#[derive(Clone, Debug, PartialEq)]
pub enum ToRunner {
    /// The one task.
    Task(Box<Task>),
    /// The answer to a call.
    Reply(ReplyBody),
}

/// A frame from the runner.
#[derive(Clone, Debug, PartialEq)]
pub enum FromRunner {
    /// Imports are done.
    Ready(Ready),
    /// A component's event.
    Event(Event),
    /// Standard output or error.
    Log(Log),
    /// A question.
    Call(CallBody),
    /// Final: the result.
    Result(Box<CellResult>),
    /// Final: why there is none.
    Failure(FailureBody),
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes are not `FC`.
    #[error("not a frame: wrong magic")]
    Magic,
    /// Another protocol version.
    #[error("frame version {0} is not supported (this side speaks {VERSION})")]
    Version(u8),
    /// A kind that this side does not accept.
    #[error("unexpected frame kind {0}")]
    Kind(u8),
    /// The announced length is over the limit.
    #[error("frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Announced length in bytes.
        length: usize,
        /// Limit in bytes.
        limit: usize,
    },
    /// The payload is not the JSON object of its kind.
    #[error("frame kind {kind} has an invalid payload: {source}")]
    Payload {
        /// The frame's kind.
        kind: u8,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The socket failed.
    #[error("frame socket: {0}")]
    Io(#[from] std::io::Error),
}

/// The worker's side of the framing: decodes [`FromRunner`], encodes [`ToRunner`].
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    payload_bytes_max: usize,
}

impl Default for FrameCodec {
    fn default() -> Self {
        Self { payload_bytes_max: FRAME_BYTES_MAX }
    }
}

impl FrameCodec {
    /// A codec that accepts payloads of at most this many bytes.
    #[must_use]
    pub fn with_limit(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max: payload_bytes_max.min(FRAME_BYTES_MAX) }
    }

    fn split(&self, buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>, Error> {
        let Some(&[magic0, magic1, version, kind, l0, l1, l2, l3]) =
            buffer.first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        if [magic0, magic1] != MAGIC {
            return Err(Error::Magic);
        }
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > self.payload_bytes_max {
            return Err(Error::TooLong { length, limit: self.payload_bytes_max });
        }
        if buffer.len() < HEADER_BYTES + length {
            buffer.reserve(HEADER_BYTES + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEADER_BYTES);
        Ok(Some((kind, buffer.split_to(length).freeze())))
    }

    fn put(kind: u8, body: &impl Serialize, into: &mut BytesMut) -> Result<(), Error> {
        let payload = serde_json::to_vec(body).map_err(|source| Error::Payload { kind, source })?;
        let too_long = Error::TooLong { length: payload.len(), limit: FRAME_BYTES_MAX };
        if payload.len() > FRAME_BYTES_MAX {
            return Err(too_long);
        }
        let length = u32::try_from(payload.len()).map_err(|_| too_long)?;
        into.reserve(HEADER_BYTES + payload.len());
        into.put_slice(&MAGIC);
        into.put_u8(VERSION);
        into.put_u8(kind);
        into.put_u32(length);
        into.put_slice(&payload);
        Ok(())
    }
}

fn read<T: DeserializeOwned>(kind: u8, payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|source| Error::Payload { kind, source })
}

impl Decoder for FrameCodec {
    type Item = FromRunner;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<FromRunner>, Error> {
        let Some((kind, payload)) = self.split(buffer)? else { return Ok(None) };
        let frame = match kind {
            READY => FromRunner::Ready(read(kind, &payload)?),
            EVENT => FromRunner::Event(read(kind, &payload)?),
            LOG => FromRunner::Log(read(kind, &payload)?),
            CALL => FromRunner::Call(read(kind, &payload)?),
            RESULT => FromRunner::Result(Box::new(read(kind, &payload)?)),
            FAILURE => FromRunner::Failure(read(kind, &payload)?),
            other => return Err(Error::Kind(other)),
        };
        Ok(Some(frame))
    }
}

impl Encoder<&ToRunner> for FrameCodec {
    type Error = Error;

    fn encode(&mut self, frame: &ToRunner, into: &mut BytesMut) -> Result<(), Error> {
        match frame {
            ToRunner::Task(task) => Self::put(TASK, task, into),
            ToRunner::Reply(reply) => Self::put(REPLY, reply, into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&b"FC\x01"[..]);
        bytes.put_u8(kind);
        bytes.put_u32(u32::try_from(payload.len()).unwrap());
        bytes.put_slice(payload);
        bytes
    }

    #[test]
    fn a_frame_may_arrive_byte_by_byte() {
        let whole = frame(LOG, br#"{"stream":"stdout","text":"hi"}"#);
        let mut buffer = BytesMut::new();
        let mut codec = FrameCodec::default();
        for (index, byte) in whole.iter().enumerate() {
            buffer.put_u8(*byte);
            let decoded = codec.decode(&mut buffer).unwrap();
            assert_eq!(decoded.is_some(), index + 1 == whole.len());
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn hostile_headers_are_refused_before_anything_is_buffered() {
        let mut codec = FrameCodec::with_limit(10);
        let mut buffer = BytesMut::from(&b"XX\x01\x83\x00\x00\x00\x01"[..]);
        assert!(matches!(codec.decode(&mut buffer), Err(Error::Magic)));
        let mut buffer = BytesMut::from(&b"FC\x02\x83\x00\x00\x00\x01"[..]);
        assert!(matches!(codec.decode(&mut buffer), Err(Error::Version(2))));
        let mut buffer = BytesMut::from(&b"FC\x01\x83\xff\xff\xff\xff"[..]);
        assert!(matches!(codec.decode(&mut buffer), Err(Error::TooLong { limit: 10, .. })));
        let mut codec = FrameCodec::default();
        assert!(matches!(codec.decode(&mut frame(TASK, b"{}")), Err(Error::Kind(TASK))));
        assert!(matches!(
            codec.decode(&mut frame(READY, b"[NaN]")),
            Err(Error::Payload { kind: READY, .. })
        ));
    }
}
