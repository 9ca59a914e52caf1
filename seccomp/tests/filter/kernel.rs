//! Child processes that install the filter and try.

#![allow(unsafe_code, reason = "system calls by number, in a forked child")]

use std::arch::asm;
use std::{ptr, thread};

use libc::{EAFNOSUPPORT, EINVAL, ENOSYS, ENOTTY, EPERM, c_long};

/// How a child ended: `Ok` with its code, `Err` with the signal.
type End = Result<i32, i32>;

/// Runs `body` in a forked child, under the filter; its value is the exit code. The body must keep
/// to plain system calls: a child of a process with threads has no allocator to rely on.
fn under_filter(body: impl FnOnce() -> i32) -> End {
    // SAFETY: the child only makes system calls and leaves without unwinding.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let code = if flowcell_seccomp::install().is_ok() { body() } else { 111 };
        // SAFETY: ends this process.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: the child is ours and the status is a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) {
        Err(libc::WTERMSIG(status))
    } else {
        Ok(libc::WEXITSTATUS(status))
    }
}

/// The error of a call, or 0.
fn errno_of(number: c_long, arguments: [c_long; 5]) -> i32 {
    errno_of_six(number, arguments, 0)
}

fn errno_of_six(number: c_long, arguments: [c_long; 5], sixth: c_long) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: refused calls read nothing; the allowed ones here get no pointer that they follow.
    if unsafe { libc::syscall(number, a, b, c, d, e, sixth) } >= 0 {
        return 0;
    }
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() }
}

#[test]
fn refused_calls_fail_with_their_error() {
    let family = |family: i32, kind: i32, protocol: i32| {
        [family.into(), kind.into(), protocol.into(), 0, 0] as [c_long; 5]
    };
    let refused: &[(&str, c_long, [c_long; 5], i32)] = &[
        ("clone3", libc::SYS_clone3, [0; 5], ENOSYS),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5], ENOSYS),
        ("memfd_create", libc::SYS_memfd_create, [0; 5], ENOSYS),
        ("pidfd_open", libc::SYS_pidfd_open, [1, 0, 0, 0, 0], ENOSYS),
        ("a call of the future", 999, [0; 5], ENOSYS),
        ("no call", -1, [0; 5], ENOSYS),
        ("unshare a user namespace", libc::SYS_unshare, [0x1000_0000, 0, 0, 0, 0], EPERM),
        ("setns", libc::SYS_setns, [0; 5], EPERM),
        ("mount", libc::SYS_mount, [0; 5], EPERM),
        ("ptrace", libc::SYS_ptrace, [0; 5], EPERM),
        ("bpf", libc::SYS_bpf, [0; 5], EPERM),
        ("keyctl", libc::SYS_keyctl, [0; 5], EPERM),
        ("userfaultfd", libc::SYS_userfaultfd, [0; 5], EPERM),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 5], EPERM),
        ("setuid", libc::SYS_setuid, [0; 5], EPERM),
        ("chroot", libc::SYS_chroot, [0; 5], EPERM),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0], EPERM),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0; 5], EPERM),
        ("another filter", libc::SYS_seccomp, [1, 0, 0, 0, 0], EPERM),
        ("clone of a user namespace", libc::SYS_clone, [0x1000_0000 | 17, 0, 0, 0, 0], EPERM),
        ("clone of a network namespace", libc::SYS_clone, [0x4000_0011, 0, 0, 0, 0], EPERM),
        ("AF_NETLINK", libc::SYS_socket, family(16, 3, 0), EAFNOSUPPORT),
        ("AF_PACKET", libc::SYS_socket, family(17, 3, 0), EAFNOSUPPORT),
        ("AF_ALG", libc::SYS_socket, family(38, 5, 0), EAFNOSUPPORT),
        ("AF_VSOCK", libc::SYS_socket, family(40, 1, 0), EAFNOSUPPORT),
        ("raw IP", libc::SYS_socket, family(2, 3, 1), EAFNOSUPPORT),
        ("ping", libc::SYS_socket, family(2, 2, 1), EAFNOSUPPORT),
        ("SCTP", libc::SYS_socket, family(2, 1, 132), EAFNOSUPPORT),
        ("TIOCSTI", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0], ENOTTY),
        ("TIOCSTI with an upper half", libc::SYS_ioctl, [0, 0x1_0000_5412, 0, 0, 0], ENOTTY),
        ("TIOCLINUX", libc::SYS_ioctl, [0, 0x541c, 0, 0, 0], ENOTTY),
        ("PR_SET_DUMPABLE", libc::SYS_prctl, [4, 1, 0, 0, 0], EPERM),
        ("PR_SET_SECCOMP", libc::SYS_prctl, [22, 2, 0, 0, 0], EPERM),
        ("no randomisation", libc::SYS_personality, [0x004_0000, 0, 0, 0, 0], EPERM),
        ("a device", libc::SYS_mknodat, [-100, 0, 0o020_666, 0, 0], EPERM),
        ("sync", libc::SYS_sync, [0; 5], EPERM),
        ("out of the cache", libc::SYS_fadvise64, [0, 0, 0, 4, 0], EINVAL),
    ];
    for (name, number, arguments, errno) in refused {
        let end = under_filter(|| errno_of(*number, *arguments));
        assert_eq!(end, Ok(*errno), "{name}");
    }
}

#[test]
fn what_programs_do_still_works() {
    let end = under_filter(|| {
        let ok = [
            errno_of(libc::SYS_getpid, [0; 5]),
            errno_of(libc::SYS_socket, [1, 1, 0, 0, 0]),
            errno_of(libc::SYS_socket, [2, 1 | 0x8_0800, 0, 0, 0]),
            errno_of(libc::SYS_socket, [10, 2 | 0x8_0000, 17, 0, 0]),
            errno_of(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
            errno_of(libc::SYS_prctl, [1, 9, 0, 0, 0]),
            errno_of(libc::SYS_mmap, [0, 4096, 7, 0x22, -1]),
        ];
        if ok != [0; 7] {
            return 1;
        }
        // RWF_NOWAIT is refused; without it the kernel finds that there is no such descriptor.
        let read = |flags| errno_of_six(libc::SYS_preadv2, [-1, 0, 0, 0, 0], flags);
        if (read(0), read(8)) != (libc::EBADF, libc::EOPNOTSUPP) {
            return 9;
        }
        // Judged calls that the kernel itself refuses: the filter let them through.
        if errno_of(libc::SYS_mknodat, [-100, 0, 0o010_666, 0, 0]) != libc::EFAULT {
            return 2;
        }
        if errno_of(libc::SYS_clone, [0x0001_0000, 0, 0, 0, 0]) != EINVAL {
            return 3;
        }
        // SAFETY: the grandchild leaves at once.
        match unsafe { libc::fork() } {
            0 => unsafe { libc::_exit(0) },
            child if child > 0 => {
                // SAFETY: the child is ours; its status is not wanted.
                i32::from(unsafe { libc::waitpid(child, ptr::null_mut(), 0) } != child)
            }
            _ => 4,
        }
    });
    assert_eq!(end, Ok(0));
}

#[test]
fn a_second_filter_is_refused() {
    assert_eq!(
        under_filter(|| match flowcell_seccomp::install() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        }),
        Ok(EPERM)
    );
}

/// In a process of its own: the filter stays, and the harness needs its own calls.
#[test]
fn threads_that_are_already_there_get_it_too() {
    // SAFETY: forks a single-threaded continuation; it only makes threads and system calls.
    let end = in_child(|| {
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (answer, answered) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            asked.recv().unwrap();
            answer.send(errno_of(libc::SYS_unshare, [0x1000_0000, 0, 0, 0, 0])).unwrap();
        });
        flowcell_seccomp::install().unwrap();
        ask.send(()).unwrap();
        let errno = answered.recv().unwrap();
        thread.join().unwrap();
        errno
    });
    assert_eq!(end, Ok(EPERM));
}

fn in_child(body: impl FnOnce() -> i32) -> End {
    // SAFETY: the child leaves without unwinding into the harness.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = body();
        // SAFETY: ends this process.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: the child is ours and the status is a local.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) {
        Err(libc::WTERMSIG(status))
    } else {
        Ok(libc::WEXITSTATUS(status))
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_32_bit_code_are_killed() {
    let end = under_filter(|| {
        // getpid of the i386 table.
        let mut result = 20_i64;
        // SAFETY: the call takes no pointer; where it is not killed it changes rax only.
        unsafe { asm!("int 0x80", inout("rax") result, options(nostack)) };
        i32::from(result > 0)
    });
    assert_eq!(end, Err(libc::SIGSYS));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_x32_are_killed() {
    let end = under_filter(|| errno_of(0x4000_0000 | libc::SYS_getpid, [0; 5]));
    assert_eq!(end, Err(libc::SIGSYS));
}
