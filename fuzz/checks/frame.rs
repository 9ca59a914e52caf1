//! What must be true of frames, whatever the bytes. Shared by the fuzz targets and by the tests of
//! `proto`, which replay the corpus.

use bytes::{Buf, BytesMut};
use flowcell_proto::frame::{FrameCodec, FromRunner, ReplyBody, Task, ToRunner};
use tokio_util::codec::{Decoder, Encoder};

/// Small, so that inputs reach it.
const PAYLOAD_BYTES_MAX: usize = 4_096;
const HEADER_BYTES: usize = 8;

/// All frames up to the first fault, and whether there was one.
type Read = (Vec<FromRunner>, Option<String>);

/// Reading in pieces gives what reading at once gives, and buffers no more than a frame may have.
/// Says how many frames there were.
pub(crate) fn from_runner(data: &[u8]) -> usize {
    let Some((first, stream)) = data.split_first() else { return 0 };
    let whole = read(stream.chunks(stream.len().max(1)));
    let pieces = read(stream.chunks(usize::from(first % 16) + 1));
    assert_eq!(whole, pieces, "where a read ends must not matter");
    whole.0.len()
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut codec = FrameCodec::with_limit(PAYLOAD_BYTES_MAX);
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let held = buffer.len();
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        let most = 2 * (held + PAYLOAD_BYTES_MAX + HEADER_BYTES);
        assert!(buffer.capacity() <= most, "{} bytes reserved", buffer.capacity());
    }
    (frames, None)
}

/// What is sent says its own length and reads back as what was meant. Says whether there was a frame.
pub(crate) fn to_runner(data: &[u8]) -> bool {
    let Some((kind, json)) = data.split_first() else { return false };
    let frame = if kind % 2 == 0 {
        serde_json::from_slice::<Task>(json).ok().map(|task| ToRunner::Task(Box::new(task)))
    } else {
        serde_json::from_slice::<ReplyBody>(json).ok().map(ToRunner::Reply)
    };
    let Some(frame) = frame else { return false };
    let mut bytes = BytesMut::new();
    FrameCodec::default().encode(&frame, &mut bytes).expect("what was read fits into a frame");
    let header = bytes.split_to(HEADER_BYTES);
    let length = header.get(4..).expect("four bytes of length").get_u32();
    assert_eq!(usize::try_from(length), Ok(bytes.len()));
    let again = match &frame {
        ToRunner::Task(_) => ToRunner::Task(serde_json::from_slice(&bytes).expect("a task")),
        ToRunner::Reply(_) => ToRunner::Reply(serde_json::from_slice(&bytes).expect("a reply")),
    };
    assert_eq!(again, frame);
    true
}
