//! Children that have ended.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Blocks the signal of ending children and makes it readable instead.
///
/// # Errors
/// What the kernel says.
pub(crate) fn watch_children() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&mask, flags).map_err(io::Error::from)
}

/// The children that have ended, with their exit code, or 128 and the signal. One signal may stand
/// for several of them.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ended(signals: &SignalFd) -> io::Result<Vec<(Pid, i32)>> {
    while signals.read_signal()?.is_some() {}
    let mut all = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => all.push((pid, code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => all.push((pid, 128 + signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(all),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
