//! The cell that a child is to enter, known by a descriptor of its first process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use crate::cgroups::Cgroups;
use crate::group_files::GroupFiles;

/// A cell's first process and where it lives.
#[derive(Debug)]
pub(crate) struct Target {
    process: OwnedFd,
    membership: String,
}

impl Target {
    /// Looks at the process. Its number is read from the descriptor, so that no other process can
    /// be taken for it; that it still lives afterwards proves that its number was not reused.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn inspect(process: OwnedFd) -> io::Result<Self> {
        let pid = pid_of(process.as_fd())?;
        let membership = Cgroups::of(&pid)?;
        if has_ended(process.as_fd())? {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(Self { process, membership })
    }

    /// From now on, children of this process are born in the cell's process namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn aim(&self) -> io::Result<()> {
        setns(&self.process, CloneFlags::CLONE_NEWPID).map_err(io::Error::from)
    }

    /// Joins the cell's control groups.
    ///
    /// # Errors
    /// When one of them cannot be joined.
    pub(crate) fn join_cgroups(&self, cgroups: &Cgroups) -> io::Result<()> {
        cgroups.join(&self.membership)
    }

    /// What tells how the cell's control groups are doing.
    pub(crate) fn group_files(&self, cgroups: &Cgroups) -> GroupFiles {
        GroupFiles::open(cgroups, &self.membership)
    }

    /// Joins every other namespace of the cell; the root becomes the cell's, and the working
    /// directory with it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn join_namespaces(&self) -> io::Result<()> {
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP;
        setns(&self.process, all).map_err(io::Error::from)
    }
}

/// The process's number in our namespace.
fn pid_of(process: BorrowedFd<'_>) -> io::Result<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
    match pid {
        // 0: it is in no namespace of ours. -1: it has ended.
        Some(pid) if pid.parse::<u32>().is_ok_and(|pid| pid > 0) => Ok(pid.to_owned()),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn has_ended(process: BorrowedFd<'_>) -> io::Result<bool> {
    let mut wanted = [PollFd::new(process, PollFlags::POLLIN)];
    Ok(poll(&mut wanted, PollTimeout::ZERO)? > 0)
}
