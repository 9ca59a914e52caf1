//! Who may call what, and why. Read by `build.rs` and by the tests; nothing of it is compiled in.
//!
//! Allowed is what the census saw (`census.txt`) and what [`ADDED`] adds to it, each addition with
//! its reason. [`REFUSED`] takes away, also from the census, and names the error a caller gets.
//! [`JUDGED`] calls are allowed for some arguments only. Every call that the tables of
//! `seccompiler` know must be in one of these: a test fails on one that nobody decided about.

use libc::{EAFNOSUPPORT, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM};

/// Calls that belong together, and why.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) calls: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// Calls that fail, with what, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: i32,
    pub(crate) calls: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// A call that is allowed when all conditions of one of its rules hold.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) call: &'static str,
    pub(crate) rules: &'static [&'static [Condition]],
    pub(crate) otherwise: i32,
    pub(crate) reason: &'static str,
}

/// The argument's lower half, masked, is one of these values. The lower half, because every
/// argument judged here is an `int` for the kernel, which ignores the upper one.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) mask: u32,
    pub(crate) values: &'static [u32],
}

const fn is(argument: u8, values: &'static [u32]) -> Condition {
    Condition { argument, mask: u32::MAX, values }
}

const fn masked(argument: u8, mask: u32, values: &'static [u32]) -> Condition {
    Condition { argument, mask, values }
}

#[rustfmt::skip]
pub(crate) const ADDED: &[Group] = &[
    Group {
        calls: &[
            "accept", "creat", "dup2", "epoll_create", "epoll_pwait", "epoll_wait", "eventfd",
            "faccessat", "fchmodat", "fchownat", "fork", "futimesat", "getdents", "getrlimit",
            "inotify_init", "lchown", "linkat", "lstat", "mkdirat", "nanosleep", "open", "pause",
            "pipe", "poll", "ppoll", "readlinkat", "renameat", "renameat2", "select", "setrlimit",
            "signalfd", "stat", "symlinkat", "utime", "utimes", "vfork",
        ],
        reason: "what the census saw, under the name that another libc or aarch64 uses for it",
    },
    Group {
        calls: &[
            "close_range", "epoll_pwait2", "faccessat2", "fchmodat2", "futex_waitv", "pwritev2",
            "rseq", "statx",
        ],
        reason: "what the census saw, in the form that newer libcs prefer",
    },
    Group {
        calls: &["clock_gettime", "clock_getres", "getcpu", "gettimeofday", "time"],
        reason: "answered without the kernel where the clock allows it; elsewhere they are real calls",
    },
    Group {
        calls: &[
            "capget", "getegid", "geteuid", "getgid", "getgroups", "getitimer", "getpgid",
            "getpgrp", "getpid", "getppid", "getpriority", "getresgid", "getresuid", "getrusage",
            "getsid", "gettid", "getuid", "getxattr", "fgetxattr", "lgetxattr", "listxattr",
            "flistxattr", "llistxattr", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
            "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval", "sysinfo",
            "times", "uname", "statfs", "fstatfs", "mincore",
        ],
        reason: "questions about oneself and one's own files",
    },
    Group {
        calls: &["removexattr", "lremovexattr", "fremovexattr", "lsetxattr", "fsetxattr"],
        reason: "setxattr by path, link or descriptor; copies of trees use whichever fits",
    },
    Group {
        calls: &[
            "exit", "restart_syscall", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "tkill",
        ],
        reason: "the rest of what any thread may have to do: end, resume, wait for its signals",
    },
    Group {
        calls: &[
            "preadv", "pwritev", "readv", "writev", "recvmmsg", "sendmmsg", "sync_file_range",
            "readahead",
        ],
        reason: "reading and writing in batches: databases, resolvers and HTTP servers choose by size",
    },
    Group {
        calls: &["timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4"],
        reason: "timers and signals as descriptors: event loops of C++ libraries (gRPC, Arrow) and GLib",
    },
    Group {
        calls: &[
            "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
        ],
        reason: "POSIX timers: `timeout`, and the profiler of every Go program",
    },
    Group {
        calls: &["membarrier", "madvise", "mlock", "mlock2", "munlock", "msync", "mremap"],
        reason: "memory of one's own: compilers at run time, allocators, libsodium's secrets",
    },
    Group {
        calls: &["uretprobe"],
        reason: "an operator who traces the host; the kernel takes it from its own trampoline only",
    },
];

#[rustfmt::skip]
pub(crate) const REFUSED: &[Refusal] = &[
    Refusal {
        errno: ENOSYS,
        calls: &["clone3"],
        reason: "its flags are behind a pointer, which a filter cannot follow; every libc falls back to clone, which is judged",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        reason: "a second system call table that no filter sees; libuv and others fall back to epoll",
    },
    Refusal {
        errno: ENOSYS,
        calls: &[
            "io_setup", "io_submit", "io_getevents", "io_pgetevents", "io_cancel", "io_destroy",
        ],
        reason: "asynchronous reads in the kernel, optional there; aiofile falls back to threads",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["pidfd_open", "pidfd_send_signal"],
        reason: "optional; asyncio, tokio and libuv fall back to signals and wait",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["memfd_create", "execveat"],
        reason: "files that are in no folder, and running them: a way around /tmp without execution",
    },
    Refusal {
        errno: ENOSYS,
        calls: &[
            "openat2", "cachestat", "futex_wait", "futex_wake", "futex_requeue", "map_shadow_stack",
            "mseal",
        ],
        reason: "younger than what libcs need; callers have to cope without",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["get_mempolicy", "set_mempolicy", "mbind", "set_mempolicy_home_node"],
        reason: "placement on NUMA nodes is the operator's; libnuma reads this error as `no NUMA here`",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["pkey_alloc", "pkey_free", "pkey_mprotect"],
        reason: "optional hardware; V8 does without",
    },
    Refusal {
        errno: ENOSYS,
        calls: &[
            "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop", "semctl",
            "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend",
            "mq_timedreceive", "mq_notify", "mq_getsetattr",
        ],
        reason: "System V and POSIX queues: optional in the kernel, a history of holes, and Python uses neither",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
        reason: "optional; the launcher has restricted the cell before the filter is there",
    },
    Refusal {
        errno: ENOSYS,
        calls: &[
            "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules", "statmount", "listmount",
        ],
        reason: "what a cell need not know about its host",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["tee", "vmsplice", "remap_file_pages", "memfd_secret"],
        reason: "rare ways to share pages, with a history of holes",
    },
    Refusal {
        errno: ENOSYS,
        calls: &["modify_ldt", "set_thread_area", "get_thread_area"],
        reason: "segments of 16- and 32-bit programs",
    },
    Refusal {
        errno: ENOSYS,
        calls: &[
            "_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old",
            "get_kernel_syms", "getpmsg", "lookup_dcookie", "nfsservctl", "putpmsg", "query_module",
            "security", "sysfs", "tuxcall", "uselib", "ustat", "vserver",
        ],
        reason: "names without a call behind them, or nearly",
    },
    Refusal {
        errno: EPERM,
        calls: &[
            "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
            "process_mrelease", "kcmp", "pidfd_getfd", "get_robust_list",
        ],
        reason: "reaching into other processes",
    },
    Refusal {
        errno: EPERM,
        calls: &["unshare", "setns"],
        reason: "namespaces: a new one has capabilities, and with them most of the kernel's attack surface",
    },
    Refusal {
        errno: EPERM,
        calls: &[
            "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen",
            "fsconfig", "fsmount", "fspick", "mount_setattr", "quotactl", "quotactl_fd", "swapon",
            "swapoff", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark",
        ],
        reason: "file systems as a whole, and files by number instead of by path",
    },
    Refusal {
        errno: EPERM,
        calls: &["bpf", "perf_event_open", "userfaultfd", "seccomp"],
        reason: "machinery inside the kernel that exploits are made of; a cell has its filter already",
    },
    Refusal {
        errno: EPERM,
        calls: &["add_key", "request_key", "keyctl"],
        reason: "keyrings are not in a namespace",
    },
    Refusal {
        errno: EPERM,
        calls: &[
            "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid",
            "setfsgid", "setgroups", "capset",
        ],
        reason: "a cell is nobody and stays nobody",
    },
    Refusal {
        errno: EPERM,
        calls: &[
            "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
            "reboot", "iopl", "ioperm", "syslog", "acct", "vhangup", "sethostname", "setdomainname",
        ],
        reason: "the host's administration",
    },
    Refusal {
        errno: EPERM,
        calls: &["settimeofday", "clock_settime", "clock_adjtime", "adjtimex"],
        reason: "the host's clock",
    },
    Refusal {
        errno: EPERM,
        calls: &["sync", "syncfs"],
        reason: "would write out the whole host's files for one cell; fsync of one's own stays",
    },
    Refusal {
        errno: EPERM,
        calls: &[
            "sched_setattr", "sched_getattr", "sched_setscheduler", "sched_setparam", "ioprio_get",
            "ioprio_set", "migrate_pages", "move_pages", "mlockall", "munlockall",
        ],
        reason: "priorities and placement are the operator's; nice and affinity stay",
    },
    Refusal {
        errno: EPERM,
        calls: &["rt_sigqueueinfo", "rt_tgsigqueueinfo"],
        reason: "signals with forged senders; kill and tgkill stay",
    },
];

/// Flags of `clone` that make namespaces. `CLONE_NEWTIME` is not among them: in `clone` its bit
/// belongs to the exit signal.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The kind in the type of a socket; the rest are SOCK_CLOEXEC and SOCK_NONBLOCK.
const KIND: u32 = 0xf;
const STREAM: &[u32] = &[libc::SOCK_STREAM as u32];
const DATAGRAM: &[u32] = &[libc::SOCK_DGRAM as u32];
const INTERNET: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32];
const UNIX: &[u32] = &[libc::AF_UNIX as u32];
const TCP: &[u32] = &[0, libc::IPPROTO_TCP as u32];
const UDP: &[u32] = &[0, libc::IPPROTO_UDP as u32];

/// How wide the vector registers of aarch64 are.
const PR_SVE_GET_VL: u32 = 51;

/// Pipes and plain files. Not devices: the kernel lets anyone make the device 0:0.
const PLAIN: &[u32] = &[0, libc::S_IFREG, libc::S_IFIFO];

pub(crate) const JUDGED: &[Judged] = &[
    Judged {
        call: "clone",
        rules: &[&[masked(0, NAMESPACES, &[0])]],
        otherwise: EPERM,
        reason: "threads and processes, but no namespaces",
    },
    Judged {
        call: "socket",
        rules: &[
            &[is(0, UNIX)],
            &[is(0, INTERNET), masked(1, KIND, STREAM), is(2, TCP)],
            &[is(0, INTERNET), masked(1, KIND, DATAGRAM), is(2, UDP)],
        ],
        otherwise: EAFNOSUPPORT,
        reason: "TCP, UDP and Unix sockets. Netlink, packet, vsock, AF_ALG and raw sockets are refused as a kernel without them would; getaddrinfo works without netlink",
    },
    Judged {
        call: "socketpair",
        rules: &[&[is(0, UNIX)]],
        otherwise: EAFNOSUPPORT,
        reason: "the only family that has pairs",
    },
    Judged {
        call: "prctl",
        rules: &[&[is(
            0,
            &[
                libc::PR_SET_NAME as u32,
                libc::PR_GET_NAME as u32,
                libc::PR_SET_PDEATHSIG as u32,
                libc::PR_GET_PDEATHSIG as u32,
                libc::PR_GET_DUMPABLE as u32,
                libc::PR_SET_NO_NEW_PRIVS as u32,
                libc::PR_GET_NO_NEW_PRIVS as u32,
                libc::PR_CAPBSET_READ as u32,
                PR_SVE_GET_VL,
            ],
        )]],
        otherwise: EPERM,
        reason: "names of threads, ending with the parent, and questions",
    },
    Judged {
        call: "ioctl",
        rules: &[&[is(1, TERMINALS)], &[is(1, DESCRIPTORS)]],
        otherwise: ENOTTY,
        reason: "what terminals, pipes, sockets and files know. Not TIOCSTI and TIOCLINUX, which type for others. Refused with what a device says that does not know the request",
    },
    Judged {
        call: "personality",
        rules: &[&[is(0, &[0xffff_ffff])]],
        otherwise: EPERM,
        reason: "asking only: setting it turns off address randomisation",
    },
    Judged {
        call: "mknod",
        rules: &[&[masked(1, libc::S_IFMT, PLAIN)]],
        otherwise: EPERM,
        reason: "pipes and plain files, no devices",
    },
    Judged {
        call: "mknodat",
        rules: &[&[masked(2, libc::S_IFMT, PLAIN)]],
        otherwise: EPERM,
        reason: "pipes and plain files, no devices",
    },
    Judged {
        call: "fadvise64",
        rules: &[&[is(3, READING_AHEAD)]],
        otherwise: EINVAL,
        reason: "advice about reading. Not POSIX_FADV_DONTNEED, which throws a file of the image out of the memory that all cells share: whoever then times a read knows whether another cell has read it since",
    },
    Judged {
        call: "preadv2",
        rules: &[&[is(5, HOW_TO_READ)]],
        otherwise: EOPNOTSUPP,
        reason: "as preadv. Not RWF_NOWAIT, which tells without a clock whether somebody has read that part of a file",
    },
];

/// `POSIX_FADV_NORMAL`, `RANDOM`, `SEQUENTIAL`, `WILLNEED` and `NOREUSE`.
const READING_AHEAD: &[u32] = &[0, 1, 2, 3, 5];
/// Nothing, and `RWF_HIPRI`.
const HOW_TO_READ: &[u32] = &[0, 1];

/// Terminals: a shell under `pty` is a common way to run a program that asks.
const TERMINALS: &[u32] = &[
    0x5401,      // TCGETS
    0x5402,      // TCSETS
    0x5403,      // TCSETSW
    0x5404,      // TCSETSF
    0x5409,      // TCSBRK
    0x540b,      // TCFLSH
    0x540e,      // TIOCSCTTY
    0x540f,      // TIOCGPGRP
    0x5410,      // TIOCSPGRP
    0x5413,      // TIOCGWINSZ
    0x5414,      // TIOCSWINSZ
    0x5422,      // TIOCNOTTY
    0x5429,      // TIOCGSID
    0x802c_542a, // TCGETS2, of newer libcs
    0x402c_542b, // TCSETS2
    0x402c_542c, // TCSETSW2
    0x402c_542d, // TCSETSF2
    0x8004_5430, // TIOCGPTN
    0x4004_5431, // TIOCSPTLCK
    0x5441,      // TIOCGPTPEER
];

/// Any descriptor, and files.
const DESCRIPTORS: &[u32] = &[
    0x5411,      // TIOCOUTQ, for sockets SIOCOUTQ
    0x541b,      // FIONREAD
    0x5421,      // FIONBIO
    0x5450,      // FIONCLEX
    0x5451,      // FIOCLEX
    0x5452,      // FIOASYNC
    0x4004_9409, // FICLONE: cp
    0x8008_6601, // FS_IOC_GETFLAGS: lsattr, tar
    0xc020_660b, // FS_IOC_FIEMAP: cp
];
