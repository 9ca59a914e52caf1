//! The fork server. It has imported Langflow's runtime, has one thread, holds no secret, and reads
//! nothing but [`Request`]s of its worker. One request, one child, in the cell it names.
//!
//! ```text
//! worker ── fork(pidfd, socket) ──▶ zygote ── setns(pid) ── fork ──▶ child: cgroups ─ namespaces ─
//!        ◀─ forked(files of cgroup) ─                                descriptors ─ privileges ─ seccomp ─▶ Python
//!        ◀── ended(status) ─────────
//! ```

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use crate::cgroups::Cgroups;
use crate::channel;
use crate::fence;
use crate::group_files::GroupFiles;
use crate::heap;
use crate::lockdown;
use crate::message::{Answer, Fork, Request, Step};
use crate::reap;
use crate::target::Target;

/// Where the host's control group hierarchies are mounted in a zygote's container.
pub const CGROUP_MOUNTS: &str = "/run/cgroup";

/// What the interpreter wants to be told around a fork.
pub trait Interpreter {
    /// Before.
    fn before_fork(&self);
    /// After, in the parent, whether it worked or not.
    fn after_fork_parent(&self);
    /// After, in the child.
    fn after_fork_child(&self);
}

/// How serving ended.
#[derive(Debug)]
pub enum Served {
    /// This is the child, locked down, and its socket to the worker.
    Child(RawFd),
    /// The worker has closed the socket.
    WorkerGone,
}

/// A stage that failed, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: Step,
    pub(crate) error: io::Error,
}

/// Names the step of an error.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failed>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, Failed> {
        self.map_err(|error| Failed { step, error: error.into() })
    }
}

/// Serves until the worker closes the socket. Returns once in the parent and once in each child.
///
/// # Errors
/// When this process cannot serve at all, or its worker does not speak the protocol.
pub fn serve(control: BorrowedFd<'_>, interpreter: &dyn Interpreter) -> io::Result<Served> {
    let cgroups = Cgroups::find(Path::new(CGROUP_MOUNTS))?;
    heap::gather()?;
    let children = reap::watch_children()?;
    let mut slots: HashMap<Pid, u64> = HashMap::new();
    loop {
        let (asked, died) = wait(control, &children, PollTimeout::NONE)?;
        if died {
            for (pid, status) in reap::ended(&children)? {
                if let Some(slot) = slots.remove(&pid) {
                    answer(control, Answer::Ended { slot, status })?;
                }
            }
        }
        if !asked {
            continue;
        }
        let Some((bytes, descriptors)) = channel::receive(control)? else {
            return Ok(Served::WorkerGone);
        };
        let protocol = || io::Error::from(io::ErrorKind::InvalidData);
        let Ok(Request::Fork(request)) = Request::decode(&bytes) else { return Err(protocol()) };
        let [process, socket] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| protocol())?;
        match fork(&request, process, &socket, &cgroups, interpreter) {
            Ok(Forked::Parent(pid, files)) => {
                slots.insert(pid, request.slot);
                tell(control, request.slot, &files)?;
            }
            Ok(Forked::Child(socket)) => return Ok(Served::Child(socket)),
            Err(Failed { step, error }) => {
                let errno = error.raw_os_error().unwrap_or(0);
                answer(control, Answer::Failed { slot: request.slot, step, errno })?;
            }
        }
    }
}

/// Waits for a request or the end of a child, or until there is no more patience.
pub(crate) fn wait(
    control: BorrowedFd<'_>,
    children: &SignalFd,
    patience: PollTimeout,
) -> io::Result<(bool, bool)> {
    let mut wanted =
        [PollFd::new(control, PollFlags::POLLIN), PollFd::new(children.as_fd(), PollFlags::POLLIN)];
    match poll(&mut wanted, patience) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [asked, died] = wanted.map(|fd| fd.any().unwrap_or(false));
    Ok((asked, died))
}

pub(crate) fn answer(control: BorrowedFd<'_>, answer: Answer) -> io::Result<()> {
    channel::send(control, &answer.encode(), &[])
}

/// Says that there is a child, and passes on what its control group tells.
fn tell(control: BorrowedFd<'_>, slot: u64, files: &GroupFiles) -> io::Result<()> {
    let is_unified = files.is_unified;
    let answer = Answer::Forked { slot, is_unified, files: files.present() };
    channel::send(control, &answer.encode(), &files.descriptors())
}

enum Forked {
    Parent(Pid, GroupFiles),
    Child(RawFd),
}

fn fork(
    request: &Fork,
    process: OwnedFd,
    socket: &OwnedFd,
    cgroups: &Cgroups,
    interpreter: &dyn Interpreter,
) -> Result<Forked, Failed> {
    alone().at(Step::Threads)?;
    let target = Target::inspect(process).at(Step::Inspect)?;
    target.aim().at(Step::PidNamespace)?;
    interpreter.before_fork();
    let forked = fork_process();
    match forked {
        Ok(Some(pid)) => {
            interpreter.after_fork_parent();
            Ok(Forked::Parent(pid, target.group_files(cgroups)))
        }
        Ok(None) => {
            interpreter.after_fork_child();
            match enter(request, &target, socket, cgroups) {
                Ok(socket) => Ok(Forked::Child(socket)),
                Err(failed) => exit(failed.step.exit_code()),
            }
        }
        Err(error) => {
            interpreter.after_fork_parent();
            Err(Failed { step: Step::Fork, error })
        }
    }
}

/// A forked copy of a process with threads may hold locks that nobody will ever release.
fn alone() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads == 1 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBUSY)) }
}

/// In the child: into the cell, and then down to nothing. Until the last step it has privileges,
/// but there is no byte of any tenant in the cell yet.
fn enter(
    request: &Fork,
    target: &Target,
    socket: &OwnedFd,
    cgroups: &Cgroups,
) -> Result<RawFd, Failed> {
    target.join_cgroups(cgroups).at(Step::Cgroups)?;
    lockdown::resources(request.open_files, request.oom_score_adj).at(Step::Descriptors)?;
    target.join_namespaces().at(Step::Namespaces)?;
    nix::unistd::setsid().at(Step::Descriptors)?;
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).at(Step::Descriptors)?;
    let socket = lockdown::only_descriptor(socket.as_raw_fd()).at(Step::Descriptors)?;
    lockdown::privileges(lockdown::user_of(request.slot)).at(Step::Privileges)?;
    // As the cell's user: nobody else may enter it.
    nix::unistd::chdir("/tmp").at(Step::Namespaces)?;
    // Changing the user took this away, and with it what a program may ask `/proc` about itself.
    lockdown::prctl(libc::PR_SET_DUMPABLE, 1).at(Step::Privileges)?;
    fence::raise().at(Step::Privileges)?;
    seccomp::install().at(Step::Seccomp)?;
    Ok(socket)
}

#[allow(unsafe_code, reason = "fork duplicates the process")]
fn fork_process() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread (checked just before), so that nothing in the copy is
    // held by a thread that does not exist there.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child)),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// Ends a child without running anything of its parent's.
#[allow(unsafe_code, reason = "_exit has no safe wrapper")]
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// An interpreter that must not be asked.
    struct Nobody;

    impl Interpreter for Nobody {
        fn before_fork(&self) {
            panic!("it was about to fork");
        }
        fn after_fork_parent(&self) {}
        fn after_fork_child(&self) {}
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The program of the tests has a thread beside this one.
        let (process, socket) = UnixStream::pair().unwrap();
        let request = Fork { slot: 1, open_files: 64, oom_score_adj: 500 };
        let cgroups = Cgroups::find(Path::new("/sys/fs/cgroup")).unwrap();
        let forked = fork(&request, process.into(), &socket.into(), &cgroups, &Nobody);
        let failed = forked.err().expect("it has no business in the kernel");
        assert_eq!((failed.step, failed.error.raw_os_error()), (Step::Threads, Some(libc::EBUSY)));
    }
}
