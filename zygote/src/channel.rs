//! Messages and descriptors over a Unix stream socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use crate::message::{Bytes, MESSAGE_BYTES};

/// The most descriptors that the kernel passes at once (`SCM_MAX_FD`). Messages carry five at
/// most; with room for fewer than may come, those that do not fit would stay open and belong to nobody.
const DESCRIPTORS_MAX: usize = 253;

/// Sends one message with its descriptors. On a socket that does not block, `WouldBlock` means
/// that nothing was sent.
///
/// # Errors
/// What the socket says.
pub fn send(socket: BorrowedFd<'_>, message: &Bytes, descriptors: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    let parts = [IoSlice::new(message)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control, flags, None) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    // Room for so few bytes is there as a whole or not at all.
    if sent == MESSAGE_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message; `None` at the end of the stream. The descriptors are closed on exec.
///
/// # Errors
/// What the socket says; `UnexpectedEof` when the stream ends inside a message.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Bytes, Vec<OwnedFd>)>> {
    let mut bytes: Bytes = [0; MESSAGE_BYTES];
    let mut control = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    let mut descriptors = Vec::new();
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(message) => {
                for part in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = part {
                        descriptors.extend(raw.into_iter().map(own));
                    }
                }
                break message.bytes;
            }
        }
    };
    match received {
        0 => Ok(None),
        MESSAGE_BYTES => Ok(Some((bytes, descriptors))),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[allow(unsafe_code, reason = "taking a descriptor that the kernel has just made for us")]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: it came with the message that was received just now, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::message::{Fork, Request};

    #[test]
    fn a_message_brings_its_descriptors() {
        let (a, b) = UnixStream::pair().unwrap();
        let request = Request::Fork(Fork { slot: 1, open_files: 2, oom_score_adj: 3 });
        let null = std::fs::File::open("/dev/null").unwrap();
        let raw = null.as_raw_fd();
        send(a.as_fd(), &request.encode(), &[raw, raw]).unwrap();
        send(a.as_fd(), &request.encode(), &[]).unwrap();
        let (bytes, descriptors) = receive(b.as_fd()).unwrap().unwrap();
        assert_eq!(Request::decode(&bytes), Ok(request));
        assert_eq!(descriptors.len(), 2);
        assert!(descriptors.iter().all(|fd| fd.as_raw_fd() != raw));
        assert_eq!(receive(b.as_fd()).unwrap().unwrap().1.len(), 0);
        drop(a);
        assert!(receive(b.as_fd()).unwrap().is_none());
    }

    #[test]
    fn half_a_message_is_an_error() {
        use std::io::Write;
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(b"FZ").unwrap();
        drop(a);
        assert_eq!(receive(b.as_fd()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
