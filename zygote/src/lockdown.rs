//! Giving up everything a cell must not have. Irreversible; order matters and is stated.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use libc::c_int;
use nix::sys::resource::{Resource, setrlimit};

/// Nobody's group on any host; the same in the image.
pub const CELL_GROUP: u32 = 65_532;

/// The user of a cell: one of its own for each. The kernel counts much by user (watches, pending
/// signals, descriptors in flight, pages of pipes, keys), and who shares a user can use up what
/// others need. Far above whom a host knows, and never the same for two cells that live at once,
/// short of one chance in a thousand million.
#[must_use]
pub fn user_of(slot: u64) -> u32 {
    const FIRST: u32 = 1 << 30;
    let [a, b, c, d, ..] = slot.to_le_bytes();
    FIRST | (u32::from_le_bytes([a, b, c, d]) & (FIRST - 1))
}

/// Files that fit into a file system in memory of so many bytes: one for each page. An empty file
/// has no page, and still takes a kilobyte of the kernel's memory.
#[must_use]
pub fn tmp_files(bytes: u64) -> u64 {
    (bytes / 4_096).max(1_024)
}

/// Resource limits of a cell's process. It inherits them from whoever forked it, not from the
/// container that it joins.
///
/// # Errors
/// What the kernel says.
pub fn resources(open_files: u32, oom_score_adj: i32) -> io::Result<()> {
    let open_files = u64::from(open_files);
    setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files)?;
    // A core file would hold the cell's secrets.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Memory that cannot be swapped or that outlives a process is nobody's business here.
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0)?;
    setrlimit(Resource::RLIMIT_MSGQUEUE, 0, 0)?;
    fs::write("/proc/self/oom_score_adj", oom_score_adj.to_string())
}

/// Becomes nobody: no capability, no way to get one, no other user.
///
/// # Errors
/// What the kernel says; the process must end then.
pub fn privileges(user: u32) -> io::Result<()> {
    drop_bounding_set()?;
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL)?;
    nix::unistd::setgroups(&[])?;
    let (group, user) = (CELL_GROUP.into(), user.into());
    nix::unistd::setresgid(group, group, group)?;
    // Clears the permitted and effective sets as well.
    nix::unistd::setresuid(user, user, user)?;
    clear_capabilities()?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // One past the last that this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `struct __user_cap_header_struct` and two times `__user_cap_data_struct`, all zero: nothing.
#[allow(unsafe_code, reason = "capset has no safe wrapper")]
fn clear_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0_u32];
    let data = [0_u32; 6];
    // SAFETY: both point to memory of the sizes that version 3 asks for, and are only read.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A `prctl` with one argument; the kernel wants the others to be zero.
///
/// # Errors
/// What the kernel says.
#[allow(unsafe_code, reason = "prctl is variadic")]
pub(crate) fn prctl(option: c_int, argument: c_int) -> io::Result<()> {
    let (argument, zero) = (libc::c_long::from(argument), 0 as libc::c_long);
    // SAFETY: none of the options used here takes a pointer.
    let result = unsafe { libc::prctl(option, argument, zero, zero, zero) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes standard input, output and error empty, and closes everything else but a copy of one
/// descriptor, whose number is returned. It is a number that nobody has used: whatever still
/// believes to own one of the closed ones closes nothing when it is dropped.
///
/// # Errors
/// What the kernel says.
#[allow(unsafe_code, reason = "close_range and dup2 work on descriptors by number")]
pub fn only_descriptor(keep: RawFd) -> io::Result<RawFd> {
    let null = c"/dev/null";
    // SAFETY: the path is a C string; every descriptor is used by number, and the caller gives up
    // all of them but the one that is returned.
    unsafe {
        let opened = libc::open(null.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if opened < 0 {
            return Err(io::Error::last_os_error());
        }
        let kept = libc::fcntl(keep, libc::F_DUPFD_CLOEXEC, 3);
        let Ok(number) = u32::try_from(kept) else { return Err(io::Error::last_os_error()) };
        let ok = (0..3).all(|target| libc::dup2(opened, target) == target)
            && (number == 3 || libc::close_range(3, number - 1, 0) == 0)
            && libc::close_range(number + 1, libc::c_uint::MAX, 0) == 0;
        if ok { Ok(kept) } else { Err(io::Error::last_os_error()) }
    }
}
