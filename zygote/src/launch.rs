//! The launcher: makes cells out of namespaces and control groups, without an engine per cell.
//!
//! It is the first process of one privileged container per worker and image. That container gives
//! it the image's files and nothing else; what a cell is, is decided here.
//!
//! ```text
//! worker ── launch(limits, socket) ──▶ launcher ── clone(pid) ──▶ first process: control groups ─
//!        ◀── ended(status) ──────────                             namespaces ─ mounts ─ lo ─
//!        ◀────────────────────── done(descriptor of itself) ───── privileges ─ seccomp ─ stays
//! ```
//! One thread, and almost nothing in memory: a copy of it costs less than a millisecond. Everything
//! slow happens in the copy, so that several cells are made at once.

mod apparmor;
mod cell;
mod groups;
mod loopback;
mod mounts;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::channel;
use crate::message::{Answer, Launch, Limit, Request, Step};
use crate::reap;
use crate::serve::{CGROUP_MOUNTS, answer, wait};
use groups::Groups;
pub use mounts::{HIDDEN, READ_ONLY};

/// Where the worker listens, seen from inside the launcher's container.
const SOCKET: &str = "/run/flowcell/launcher.sock";
/// Where the directories of all slots of the worker are mounted.
pub const SLOTS: &str = "/run/slots";

/// A control group that still counts a dying process is tried again after this long.
const RETRY_MS: u16 = 5;
/// …and given up after this long: the next launcher of this worker removes it.
const REMOVE_MAX: Duration = Duration::from_secs(5);
/// Cells that have outlived an earlier launcher are looked at this often.
const ORPHANS_MS: u16 = 500;

/// Makes cells until the worker closes the socket, and ends those that are left then. `owner`
/// names the worker and image, so that a launcher finds what an earlier one has left behind.
///
/// # Errors
/// When this process cannot serve at all, or its worker does not speak the protocol.
pub fn run(owner: &str) -> io::Result<()> {
    let groups = Groups::open(Path::new(CGROUP_MOUNTS), owner)?;
    mounts::stage()?;
    let children = reap::watch_children()?;
    let control = UnixStream::connect(SOCKET)?;
    let mut launcher =
        Launcher { control, children, groups, cells: HashMap::new(), leaving: Vec::new() };
    let served = launcher.serve();
    launcher.end();
    launcher.groups.close();
    served
}

struct Launcher {
    control: UnixStream,
    children: SignalFd,
    groups: Groups,
    cells: HashMap<Pid, u64>,
    /// Cells whose first process has ended, and whose control groups still exist.
    leaving: Vec<Leaving>,
}

struct Leaving {
    slot: u64,
    status: i32,
    since: Instant,
}

impl Launcher {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let has_orphans = self.groups.adopt();
            let patience = match (self.leaving.is_empty(), has_orphans) {
                (false, _) => PollTimeout::from(RETRY_MS),
                (true, true) => PollTimeout::from(ORPHANS_MS),
                (true, false) => PollTimeout::NONE,
            };
            let (asked, died) = wait(self.control.as_fd(), &self.children, patience)?;
            if died {
                self.bury()?;
            }
            for (slot, status) in self.clear() {
                answer(self.control.as_fd(), Answer::Ended { slot, status })?;
            }
            if asked {
                let Some((bytes, descriptors)) = channel::receive(self.control.as_fd())? else {
                    return Ok(());
                };
                self.obey(&bytes, descriptors)?;
            }
        }
    }

    fn obey(&mut self, bytes: &crate::message::Bytes, sent: Vec<OwnedFd>) -> io::Result<()> {
        let protocol = || io::Error::from(io::ErrorKind::InvalidData);
        match Request::decode(bytes).map_err(|_| protocol())? {
            Request::Launch(launch) => {
                let [socket] = <[OwnedFd; 1]>::try_from(sent).map_err(|_| protocol())?;
                self.launch(&launch, &socket)
            }
            Request::Limit(limit) => self.limit(&limit),
            Request::Fork(_) => Err(protocol()),
        }
    }

    fn launch(&mut self, launch: &Launch, socket: &OwnedFd) -> io::Result<()> {
        let slot = launch.limits.slot;
        match clone_into_new_pid_namespace() {
            Ok(Some(pid)) => {
                self.cells.insert(pid, slot);
                Ok(())
            }
            Ok(None) => cell::live(launch, socket, &self.groups),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                answer(self.control.as_fd(), Answer::Failed { slot, step: Step::Fork, errno })
            }
        }
    }

    fn limit(&self, limit: &Limit) -> io::Result<()> {
        let slot = limit.slot;
        let said = match self.groups.limit(limit) {
            Ok(()) => Answer::Done { slot },
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                Answer::Failed { slot, step: Step::Cgroups, errno }
            }
        };
        answer(self.control.as_fd(), said)
    }

    /// Takes note of first processes that have ended. Everything else in their cells is gone by
    /// then: the kernel lets the first process of a namespace end last.
    fn bury(&mut self) -> io::Result<()> {
        for (pid, status) in reap::ended(&self.children)? {
            if let Some(slot) = self.cells.remove(&pid) {
                self.leaving.push(Leaving { slot, status, since: Instant::now() });
            }
        }
        Ok(())
    }

    /// The cells of which nothing is left, with the status of their first process.
    fn clear(&mut self) -> Vec<(u64, i32)> {
        let groups = &self.groups;
        let mut gone = Vec::new();
        self.leaving.retain(|leaving| {
            let stays = groups.remove(leaving.slot).is_err();
            if stays && leaving.since.elapsed() < REMOVE_MAX {
                return true;
            }
            gone.push((leaving.slot, leaving.status));
            false
        });
        gone
    }

    /// Ends every cell. Their lifelines do the same when the worker is dead, but not when it has
    /// only let go of this launcher.
    fn end(&mut self) {
        for pid in self.cells.keys() {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        for (pid, slot) in std::mem::take(&mut self.cells) {
            let _ = waitpid(pid, None);
            self.leaving.push(Leaving { slot, status: 0, since: Instant::now() });
        }
        while !self.leaving.is_empty() {
            drop(self.clear());
            std::thread::sleep(Duration::from_millis(RETRY_MS.into()));
        }
    }
}

/// As `fork`, but the child is the first process of a new namespace.
#[allow(unsafe_code, reason = "clone has no safe wrapper that behaves as fork")]
fn clone_into_new_pid_namespace() -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without a stack of its own the child runs on a copy of this one, as after `fork`;
    // this process has one thread, so that nothing in the copy is held by another. The pointers
    // that the architectures order differently are all null.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    match i32::try_from(result) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}
