//! The first process of a cell, from its birth to its wait for the end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use super::groups::Groups;
use super::{apparmor, loopback, mounts};
use crate::message::{Answer, Launch, Step};
use crate::serve::{At, Failed, exit};
use crate::{channel, init, lockdown};

/// As every container of ours is called.
const HOSTNAME: &str = "cell";
/// Open files of a process that has one socket.
const OPEN_FILES: u32 = 64;

/// Becomes the first process of a cell. Never returns: it ends with the worker's socket.
pub(super) fn live(launch: &Launch, socket: &OwnedFd, groups: &Groups) -> ! {
    let code = match enter(launch, socket, groups) {
        Ok(socket) => i32::from(init::stay(borrow(&socket)).is_err()),
        Err(Failed { step, error }) => {
            let errno = error.raw_os_error().unwrap_or(0);
            let said = Answer::Failed { slot: launch.limits.slot, step, errno };
            // The launcher tells the worker the step as well, by the exit code.
            let _ = channel::send(socket.as_fd(), &said.encode(), &[]);
            step.exit_code()
        }
    };
    exit(code)
}

/// Builds the cell around this process, then gives up what that took. No tenant's byte is here
/// before the worker has heard of this process, and that is the last privileged step.
fn enter(launch: &Launch, socket: &OwnedFd, groups: &Groups) -> Result<RawFd, Failed> {
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).at(Step::Descriptors)?;
    // First, because what is made from here on counts for the cell.
    groups.create(&launch.limits).at(Step::Cgroups)?;
    groups.join(launch.limits.slot).at(Step::Cgroups)?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).at(Step::Namespaces)?;
    nix::unistd::sethostname(HOSTNAME).at(Step::Namespaces)?;
    mounts::enter(launch).at(Step::Mounts)?;
    loopback::up().at(Step::Loopback)?;
    // After the mounts, which the profile refuses.
    apparmor::enter().at(Step::Privileges)?;
    nix::unistd::setsid().at(Step::Descriptors)?;
    let socket = lockdown::only_descriptor(socket.as_raw_fd()).at(Step::Descriptors)?;
    lockdown::resources(OPEN_FILES, launch.oom_score_adj).at(Step::Descriptors)?;
    lockdown::privileges(lockdown::user_of(launch.limits.slot)).at(Step::Privileges)?;
    init::report(borrow(&socket), launch.limits.slot)?;
    // After the report, which takes a call that no cell has. What is left is to wait.
    seccomp::install().at(Step::Seccomp)?;
    Ok(socket)
}

#[allow(unsafe_code, reason = "the descriptor is known by its number only")]
fn borrow(socket: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: `only_descriptor` has made it, and nobody closes it before the process ends.
    unsafe { BorrowedFd::borrow_raw(*socket) }
}
