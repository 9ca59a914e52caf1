//! The first process of a cell. It shows the worker who it is, ends when the worker does, and
//! takes the cell with it: the kernel kills a process namespace whose first process is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::channel;
use crate::lockdown::prctl;
use crate::message::Answer;
use crate::message::Step;
use crate::serve::{At, Failed};

/// Where the worker listens, seen from inside.
const SOCKET: &str = "/run/flowcell/cell.sock";

/// In a container that an engine has made: connects to the worker and stays until it is gone.
///
/// # Errors
/// When the worker cannot be reached.
pub fn run() -> io::Result<()> {
    let socket = UnixStream::connect(SOCKET)?;
    report(socket.as_fd(), 0).map_err(|failed| failed.error)?;
    stay(socket.as_fd())
}

/// Gives the worker a descriptor of this process. Whoever has it may enter this cell, if privileged.
pub(crate) fn report(socket: BorrowedFd<'_>, slot: u64) -> Result<(), Failed> {
    // The cell's other processes have the same user: they must not read or change this one.
    prctl(libc::PR_SET_DUMPABLE, 0).at(Step::Report)?;
    let own = own_descriptor().at(Step::Report)?;
    let raw: RawFd = std::os::fd::AsRawFd::as_raw_fd(&own);
    channel::send(socket, &Answer::Done { slot }.encode(), &[raw]).at(Step::Report)
}

/// Waits for the end of the worker. What it writes, if anything, is an end as well.
pub(crate) fn stay(socket: BorrowedFd<'_>) -> io::Result<()> {
    ignore_children()?;
    let mut wanted = [PollFd::new(socket, PollFlags::POLLIN)];
    loop {
        match poll(&mut wanted, PollTimeout::NONE) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Orphans of the cell become our children; ignored, they leave no zombies.
#[allow(unsafe_code, reason = "signal handlers are global")]
fn ignore_children() -> io::Result<()> {
    // SAFETY: no handler runs; the disposition is `ignore`.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.map(drop).map_err(io::Error::from)
}

#[allow(unsafe_code, reason = "pidfd_open has no safe wrapper")]
fn own_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed, and the descriptor is new.
    unsafe {
        let raw = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        match RawFd::try_from(raw) {
            Ok(raw) if raw >= 0 => Ok(OwnedFd::from_raw_fd(raw)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
