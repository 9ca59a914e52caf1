//! The system calls of a cell: an allow-list that was counted, not guessed, compiled ahead.
//!
//! `census.txt` holds every call that the component suite makes (`census/run` takes it again),
//! `policy/policy.rs` what is added to that and what is refused, each with its reason. The build
//! script turns both into one program for the kernel, so that at run time nothing is parsed,
//! allocated or decided: [`install`] is two system calls.
//!
//! | a call | gets |
//! |---|---|
//! | on the list | through; `clone`, `socket`, `socketpair`, `ioctl`, `prctl`, `personality`, `mknod`, `mknodat`, `fadvise64`, `preadv2` for some arguments only |
//! | refused | `EPERM`, or the error with which a kernel without it answers, so that libraries fall back |
//! | unknown, or younger than the lists | `ENOSYS` |
//! | of another architecture or of x32 | its process is killed |
//!
//! What a filter cannot see is what pointers point to: paths, addresses, the flags of `clone3` (which
//! is therefore refused). `mmap` and `mprotect` are not judged: Python's `ctypes`, regular expression
//! compilers and model runtimes make code at run time, so "no writable code" is not promised.

use std::io;

mod sys;

/// The program, for whoever installs it in another way.
#[must_use]
pub const fn program() -> &'static [libc::sock_filter] {
    include!(concat!(env!("OUT_DIR"), "/program.rs"))
}

/// Puts the filter on every thread of this process, and on all that they will ever start.
///
/// It cannot be taken off. `no_new_privs` is set first if it is not, because without it the kernel
/// takes filters from the privileged only. Safe to call between `fork` and `exec`: nothing is
/// allocated. A second call fails with `EPERM`: the filter allows no further one.
///
/// # Errors
/// What the kernel says; then no thread has the filter, and the caller must not go on to run a
/// cell. `ESRCH` means that a thread had filters of its own and could not be given this one.
pub fn install() -> io::Result<()> {
    sys::no_new_privileges()?;
    sys::filter_all_threads(program())
}

/// A profile for `docker run --security-opt seccomp=`: the same list, and what an OCI runtime needs
/// to start a program under it. For containers in which a cell runs without [`install`].
#[must_use]
pub const fn docker_profile() -> &'static str {
    include_str!(concat!(env!("OUT_DIR"), "/docker.json"))
}

/// A profile for containers that hold a stub and wait for a cell, which brings the filter with it.
/// Short, because the runtime compiles it at every start.
#[must_use]
pub const fn docker_stub_profile() -> &'static str {
    include_str!(concat!(env!("OUT_DIR"), "/docker-stub.json"))
}
