//! A worker that sees neither the processes of its host nor the control groups, as one in a
//! container: what the kernel counts for a cell reaches it all the same.

use std::process::{Command, Stdio};

use domain::failure::FailureKind;
use domain::limits::CellLimits;
use flowcell_worker::config::Backend;

use crate::real::{component, is_there, real};

const INSIDE: &str = "FLOWCELL_TEST_BLIND";
const BACKENDS: [Backend; 2] = [Backend::Zygote, Backend::Native];

/// What a component does, its limits, and how it ends.
type Case = (&'static str, fn(&mut CellLimits), FailureKind);

const CASES: [Case; 4] = [
    (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'bytearray(1 << 30)'], check=True)",
        |_| {},
        FailureKind::OutOfMemory { limit_bytes: 512 << 20 },
    ),
    // No process of it reaches the limit of one process.
    (
        "import os, time\nwhile True:\n    if os.fork() == 0:\n        end = time.process_time() + 0.3\n        while time.process_time() < end:\n            pass\n        os._exit(0)\n    os.wait()",
        |limits| limits.cpu_ms = 2_000,
        FailureKind::CpuTime { limit_ms: 2_000 },
    ),
    (
        "import threading, time\nfor _ in range(1000):\n    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        |limits| limits.pids = 40,
        FailureKind::TooManyProcesses { limit: 40 },
    ),
    // Not what the kernel does to a process that is out of memory, though it looks alike.
    (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        |_| {},
        FailureKind::ExitedEarly { exit_code: Some(137) },
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_counts_reaches_a_worker_that_cannot_see_it() {
    if !is_there() {
        return;
    }
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"])
        .arg("mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "blind::inside"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("unshare(1) of util-linux is needed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(BACKENDS.iter().all(|name| said.contains(&seen(*name))), "{said}");
}

/// Not a test by itself: what the one above runs where nothing can be seen.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by what_the_kernel_counts_reaches_a_worker_that_cannot_see_it"]
async fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    assert_eq!(std::fs::read_dir("/sys/fs/cgroup").unwrap().count(), 0);
    for backend in BACKENDS {
        let Some(cluster) = real(1, backend).await else { return };
        for (body, change, kind) in CASES {
            let mut assignment = component(&cluster, body);
            change(&mut assignment.limits);
            let (outcome, figures) = cluster.run(assignment).await;
            let proto::message::ReportOutcome::Failed { failure } = outcome else {
                panic!("{body}: {outcome:?}")
            };
            assert_eq!(failure.kind, kind, "{backend:?}, {body}: {failure:?}");
            assert!(figures.cpu_ms.is_some() && figures.memory_peak_bytes.is_some(), "{figures:?}");
        }
        cluster.stop().await;
        println!("{}", seen(backend));
    }
}

fn seen(backend: Backend) -> String {
    format!("{backend:?}: all of it was counted")
}
