//! The real runner, when its image is there: a component that fetches a URL through the proxy, and
//! components that reach every limit. `FLOWCELL_RUNNER_IMAGE` names another image.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use domain::failure::FailureKind;
use domain::limits::CellLimits;
use egress::Resolve;
use flowcell_worker::config::{Backend, Config, PoolImage, SandboxConfig};
use proto::event::RunEventKind;
use proto::frame::Task;
use proto::message::{Assignment, ReportOutcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::limits::GONE_MAX;
use crate::skip;
use crate::world::rule;

/// The image that `scripts/images` builds; both take another name from the environment.
pub(crate) fn image() -> String {
    let named = std::env::var_os("FLOWCELL_RUNNER_IMAGE").and_then(|name| name.into_string().ok());
    named.unwrap_or_else(|| "flowcell/runner:lfx-1.13".into())
}

/// A cluster of the real runner; none where there is no engine or no image.
pub(crate) async fn real(size: u32, backend: Backend) -> Option<Cluster> {
    real_with(size, backend, |_| {}).await
}

pub(crate) async fn real_with(
    size: u32,
    backend: Backend,
    change: impl FnOnce(&mut SandboxConfig),
) -> Option<Cluster> {
    if !is_there() {
        return None;
    }
    let cluster = Cluster::with(|config| {
        configure(config, size, backend);
        change(&mut config.sandbox);
    });
    Some(cluster.await)
}

/// The same with one container and other names than the host's.
pub(crate) async fn real_resolving(names: Arc<dyn Resolve>, backend: Backend) -> Option<Cluster> {
    if !is_there() {
        return None;
    }
    Some(Cluster::resolving(names, |config| configure(config, 1, backend)).await)
}

pub(crate) fn configure(config: &mut Config, size: u32, backend: Backend) {
    config.pool.images = vec![PoolImage::fixed(image(), size)];
    config.limits = limits();
    config.sandbox.backend = backend;
    config.pool.ready_ms_max = 120_000;
    config.pool.take_ms_max = 120_000;
}

/// A task of the one component of the fixture, with another body.
pub(crate) fn component(cluster: &Cluster, body: &str) -> Assignment {
    let text = include_str!("../fixtures/fetch_task.json");
    let mut task: Task = serde_json::from_str(text).unwrap();
    let code = &mut task.graph["nodes"][0]["data"]["node"]["template"]["code"]["value"];
    let (head, _) = code.as_str().unwrap().split_once("        import os, httpx").unwrap();
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    *code = format!("{head}{body}").into();
    let mut assignment = cluster.assignment("", "");
    assignment.image = image();
    assignment.limits = limits();
    assignment.task = Task { run_id: assignment.attempt.run, ..task };
    assignment
}

/// Whether there are an engine and the image. Says so if not.
pub(crate) fn is_there() -> bool {
    if skip() {
        return false;
    }
    let mut inspect = Command::new("docker");
    inspect.args(["image", "inspect", &image()]).stdout(Stdio::null()).stderr(Stdio::null());
    let built = inspect.status().unwrap().success();
    if !built {
        eprintln!("skipped: {} is not built", image());
    }
    built
}

pub(crate) fn limits() -> CellLimits {
    CellLimits {
        memory_bytes: 512 << 20,
        pids: 64,
        cpu_millis: 2_000,
        tmpfs_bytes: 64 << 20,
        wall_ms: 60_000,
        ..CellLimits::default()
    }
}

async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_reaches_what_its_rules_allow() {
    fetches(Backend::Warm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_component_reaches_what_its_rules_allow() {
    fetches(Backend::Zygote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_in_a_cell_of_our_own_making_reaches_what_its_rules_allow() {
    fetches(Backend::Native).await;
}

async fn fetches(backend: Backend) {
    let Some(cluster) = real(1, backend).await else { return };
    let port = server().await;
    for (private, expected) in
        [(true, "httpx 200; urllib 200"), (false, "httpx 403; urllib HTTP Error 403: Forbidden")]
    {
        let url = format!("http://127.0.0.1:{port}/x");
        let text =
            include_str!("../fixtures/fetch_task.json").replace("\"URL\"", &format!("{url:?}"));
        let task: Task = serde_json::from_str(&text).unwrap();
        let mut assignment = cluster.assignment("", "");
        assignment.image = image();
        assignment.limits = limits();
        assignment.egress = vec![rule("127.0.0.1", port, private)];
        assignment.task = Task { run_id: assignment.attempt.run, ..task };
        let run = assignment.attempt.run;
        cluster.warm(1).await;
        let began = Instant::now();
        let (outcome, figures) = cluster.run(assignment).await;
        let took = began.elapsed();
        let proto::message::ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
        let output = serde_json::to_string(&result.nodes["Fetch-aaaaa"].outputs).unwrap();
        assert!(output.contains(expected), "{output}");
        let events = cluster.events(run).await;
        let printed = events.iter().any(
            |event| matches!(event, RunEventKind::Log { text, .. } if text.contains("fetching")),
        );
        assert!(printed, "{events:?}");
        eprintln!(
            "real runner: offer to report {} ms, pick-up {} ms, run {} ms, peak {} MiB, made in {} ms",
            took.as_millis(),
            figures.pick_up_ms,
            figures.run_ms,
            figures.memory_peak_bytes.unwrap_or(0) >> 20,
            cluster.worker.figures().prepare_ms / cluster.worker.figures().prepared
        );
    }
    cluster.stop().await;
}

/// A body, its limits, what it is called, and words of the component's own error.
type Case = (&'static str, fn(&mut CellLimits), FailureKind, &'static str);

const CASES: [Case; 7] = [
    (
        "open('/tmp/x', 'wb').write(b'x' * (80 << 20))",
        |_| {},
        FailureKind::DiskFull { limit_bytes: 64 << 20 },
        "No space left on device",
    ),
    (
        "files = [open('/dev/null') for _ in range(1000)]",
        |limits| limits.open_files = 100,
        FailureKind::TooManyOpenFiles { limit: 100 },
        "Too many open files",
    ),
    (
        "import os, time\nwhile os.fork():\n    pass\ntime.sleep(60)",
        |limits| limits.pids = 24,
        FailureKind::TooManyProcesses { limit: 24 },
        // Whoever wants the next one says it first: the component, or lfx a thread.
        "",
    ),
    (
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
        |_| {},
        FailureKind::TooManyProcesses { limit: 64 },
        "can't start new thread",
    ),
    (
        "while True:\n    pass",
        |limits| limits.cpu_ms = 1_000,
        FailureKind::CpuTime { limit_ms: 1_000 },
        "`cpu_ms`",
    ),
    (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'bytearray(1 << 30)'], check=True)",
        |_| {},
        FailureKind::OutOfMemory { limit_bytes: 512 << 20 },
        "SIGKILL",
    ),
    (
        "import time\nself.log('waiting')\ntime.sleep(60)",
        |limits| limits.wall_ms = 1_500,
        FailureKind::TimedOut { limit_ms: 1_500 },
        "`wall_ms`",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn components_that_reach_a_limit_fail_by_its_name() {
    limited(Backend::Warm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forked_components_that_reach_a_limit_fail_by_its_name() {
    limited(Backend::Zygote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_components_that_reach_a_limit_fail_by_its_name() {
    limited(Backend::Native).await;
}

async fn limited(backend: Backend) {
    let Some(cluster) = real(2, backend).await else { return };
    for (body, change, kind, words) in CASES {
        let mut assignment = component(&cluster, body);
        change(&mut assignment.limits);
        cluster.warm(1).await;
        let began = Instant::now();
        let (outcome, figures) = cluster.run(assignment).await;
        let took = began.elapsed();
        let reported = Instant::now();
        cluster.gone(&figures.container.unwrap()).await;
        let ReportOutcome::Failed { failure } = outcome else { panic!("{body}: {outcome:?}") };
        let gone = reported.elapsed();
        eprintln!(
            "{}: after {} ms, {:?} ms of processor time, gone {} ms later",
            failure.kind.code(),
            took.as_millis(),
            figures.cpu_ms,
            gone.as_millis()
        );
        assert!(gone < GONE_MAX, "{body}: {gone:?}");
        assert_eq!(failure.kind, kind, "{body}: {failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
        let setting = format!("`{}`", kind.setting().unwrap());
        let ours = failure.hint.as_deref().unwrap_or(&failure.message);
        assert!(ours.contains(&setting), "{failure:?}");
    }
    let cancelled = component(&cluster, "import time\nwhile True:\n    print('x' * 100)");
    cluster.warm(1).await;
    let attempt = cluster.submit(cancelled).await;
    let container = cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    let asked = Instant::now();
    cluster.order_stop(attempt).await;
    cluster.gone(&container).await;
    let gone = asked.elapsed();
    eprintln!("real runner: cancelled and gone in {} ms", gone.as_millis());
    assert!(gone < GONE_MAX, "{gone:?}");
    cluster.stop().await;
}
