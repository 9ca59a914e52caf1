//! The same lists as a profile for Docker, and a smaller one for containers that hold no cell yet.
//!
//! An OCI runtime loads the profile before the container's program is there and goes on under it,
//! so both profiles also allow what runtimes do then.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::compile::{Verdict, combinations};
use crate::policy::{JUDGED, Judged, REFUSED};

/// What runtimes call between loading the profile and starting the program, when privileges cannot
/// grow (`no-new-privileges`; they load it earlier otherwise, and need more). Found by tracing runc
/// 1.1 and crun 1.8, where crun needs two of them; then what any Go program may do at any time.
#[rustfmt::skip]
const RUNTIMES: &[&str] = &[
    "close", "close_range", "epoll_ctl", "epoll_pwait", "execve", "fcntl", "fstat", "fstatfs",
    "futex", "getdents64", "getpid", "newfstatat", "openat", "read", "readlinkat", "write",
    // Go: threads, preemption, memory.
    "gettid", "madvise", "mmap", "munmap", "nanosleep", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_yield", "sigaltstack", "tgkill",
];

/// What a small static program needs that connects to a socket, sends descriptors, waits and ends.
/// Traced, with the other architecture's and musl's names for the same.
#[rustfmt::skip]
const STUB: &[&str] = &[
    "arch_prctl", "brk", "connect", "exit", "exit_group", "faccessat", "getppid", "getrandom",
    "kill", "mprotect", "pidfd_open", "poll", "ppoll", "prctl", "prlimit64", "readlink", "recvfrom",
    "recvmsg", "restart_syscall", "rseq", "sched_getaffinity", "sendmsg", "sendto",
    "set_robust_list", "set_tid_address", "shutdown", "socket", "wait4", "writev",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: &'static str,
    default_errno_ret: i32,
    arch_map: Vec<Architecture>,
    syscalls: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: &'static str,
    sub_architectures: [&'static str; 0],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
}

/// `(argument & value) == value_two`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    value_two: u64,
    op: &'static str,
}

/// The profile of a container in which a cell runs as the container's own program.
pub(crate) fn cell(decisions: &BTreeMap<&str, Verdict>) -> serde_json::Result<String> {
    let allowed = decisions.iter().filter(|(_, verdict)| **verdict == Verdict::Allow);
    let allowed: BTreeSet<&str> =
        allowed.map(|(name, _)| *name).chain(RUNTIMES.iter().copied()).collect();
    let mut syscalls = vec![allow(allowed)];
    for judged in JUDGED {
        syscalls.extend(rules(judged));
    }
    // Last in the file, not in effect: an errno of its own beats the default only.
    let mut errors: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for refusal in REFUSED.iter().filter(|refusal| refusal.errno != libc::EPERM) {
        let names = refusal.calls.iter().map(|name| (*name).to_owned());
        errors.entry(refusal.errno).or_default().extend(names);
    }
    for (errno, names) in errors {
        syscalls.push(Entry {
            names,
            action: "SCMP_ACT_ERRNO",
            errno_ret: Some(errno),
            args: Vec::new(),
        });
    }
    json(syscalls)
}

/// The profile of a container whose program is a stub; cells that join it bring their own filter.
pub(crate) fn stub() -> serde_json::Result<String> {
    let mut syscalls = vec![allow(STUB.iter().chain(RUNTIMES).copied().collect())];
    // Threads of the runtime; the only rule with an argument, because each costs at every start.
    syscalls.extend(JUDGED.iter().filter(|judged| judged.call == "clone").flat_map(rules));
    json(syscalls)
}

fn json(syscalls: Vec<Entry>) -> serde_json::Result<String> {
    let native = |architecture| Architecture { architecture, sub_architectures: [] };
    let profile = Profile {
        default_action: "SCMP_ACT_ERRNO",
        default_errno_ret: libc::EPERM,
        arch_map: vec![native("SCMP_ARCH_X86_64"), native("SCMP_ARCH_AARCH64")],
        syscalls,
    };
    Ok(serde_json::to_string_pretty(&profile)? + "\n")
}

fn allow(names: BTreeSet<&str>) -> Entry {
    let names = names.into_iter().map(str::to_owned).collect();
    Entry { names, action: "SCMP_ACT_ALLOW", errno_ret: None, args: Vec::new() }
}

/// Docker takes one rule per combination, as seccompiler does.
fn rules(judged: &Judged) -> impl Iterator<Item = Entry> {
    combinations(judged).into_iter().map(|conditions| {
        let args = conditions.into_iter().map(|(index, mask, value)| Argument {
            index,
            // An unmasked comparison would look at the upper half too, which the kernel ignores.
            value: mask.into(),
            value_two: value.into(),
            op: "SCMP_CMP_MASKED_EQ",
        });
        Entry {
            names: vec![judged.call.to_owned()],
            action: "SCMP_ACT_ALLOW",
            errno_ret: None,
            args: args.collect(),
        }
    })
}
