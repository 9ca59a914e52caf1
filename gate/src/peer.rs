//! Who is at the other end: the kernel says.

use std::io;

use tokio::net::UnixStream;

/// A worker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let found = stream.peer_cred()?;
        Ok(Self { user: found.uid(), group: found.gid() })
    }
}
