//! What the filter costs: to install, and for a call afterwards.
//!
//! `cargo run --release -p flowcell-seccomp --example cost`

#![allow(unsafe_code, reason = "system calls by number, in forked children")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

const CHILDREN: usize = 200;
const CALLS: u32 = 200_000;

fn main() -> std::io::Result<()> {
    let mut installs: Vec<u64> = (0..CHILDREN)
        .map(|_| in_child(|| [install(), 0, 0]).map(|[nanos, ..]| nanos))
        .collect::<std::io::Result<_>>()?;
    installs.sort_unstable();
    let at = |share: usize| installs.get(CHILDREN * share / 100).copied().unwrap_or(0) / 1_000;
    let length = flowcell_seccomp::program().len();
    println!("install {length} instructions: median {} us, p95 {} us", at(50), at(95));
    for (name, filtered) in [("without filter", false), ("under the filter", true)] {
        let [free, judged, refused] = in_child(|| {
            if filtered {
                install();
            }
            [
                each(|| unsafe { libc::syscall(libc::SYS_getppid) }),
                each(|| unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0) }),
                each(|| unsafe { libc::syscall(libc::SYS_setns, -1, 0) }),
            ]
        })?;
        println!("{name}: allowed {free} ns, judged {judged} ns, refused {refused} ns a call");
    }
    Ok(())
}

fn install() -> u64 {
    let start = Instant::now();
    flowcell_seccomp::install().expect("this kernel has seccomp");
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn each(call: impl Fn() -> libc::c_long) -> u64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(call());
    }
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) / u64::from(CALLS)
}

/// The filter stays, so every measurement has a process of its own.
fn in_child(body: impl FnOnce() -> [u64; 3]) -> std::io::Result<[u64; 3]> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    // SAFETY: this program has one thread; the child writes its answer and leaves.
    if unsafe { libc::fork() } == 0 {
        let answer = body().map(u64::to_ne_bytes).concat();
        let sent = theirs.write_all(&answer).is_ok();
        // SAFETY: ends this process.
        unsafe { libc::_exit(i32::from(!sent)) }
    }
    drop(theirs);
    let mut answer = [[0_u8; 8]; 3];
    ours.read_exact(answer.as_flattened_mut())?;
    // SAFETY: waits for the one child.
    unsafe { libc::wait(std::ptr::null_mut()) };
    Ok(answer.map(u64::from_ne_bytes))
}
