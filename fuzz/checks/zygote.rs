//! What must be true of messages to a zygote or a launcher, whatever the bytes. Shared by the fuzz
//! target and by the tests of `zygote`, which replay the corpus.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use flowcell_zygote::channel::receive;
use flowcell_zygote::message::{Answer, Bytes, MESSAGE_BYTES, Request};

/// More than fits into a socket's buffer would block.
const STREAM_BYTES_MAX: usize = 16 * MESSAGE_BYTES;

/// Messages arrive whole or not at all, and one that is understood has exactly one
/// spelling. Says how many were understood.
pub(crate) fn request(data: &[u8]) -> usize {
    let data = data.get(..STREAM_BYTES_MAX).unwrap_or(data);
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    theirs.write_all(data).expect("the buffer has room");
    theirs.shutdown(Shutdown::Write).expect("an open socket");
    let (messages, rest) = data.as_chunks::<MESSAGE_BYTES>();
    let mut understood = 0;
    for message in messages {
        let (bytes, descriptors) = receive(ours.as_fd()).expect("no error").expect("a message");
        assert_eq!(bytes, *message);
        assert!(descriptors.is_empty());
        understood += usize::from(understand(&bytes));
    }
    match receive(ours.as_fd()) {
        Ok(end) => assert!(end.is_none() && rest.is_empty(), "a message of {} bytes", rest.len()),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
            assert!(!rest.is_empty());
        }
    }
    understood
}

fn understand(bytes: &Bytes) -> bool {
    let request = Request::decode(bytes);
    if let Ok(request) = request {
        assert_eq!(request.encode(), *bytes);
        assert!(request.descriptors() <= 2);
    }
    let answer = Answer::decode(bytes);
    if let Ok(answer) = answer {
        assert_eq!(answer.encode(), *bytes);
    }
    assert!(request.is_err() || answer.is_err(), "one side's words are not the other's");
    request.is_ok() || answer.is_ok()
}
