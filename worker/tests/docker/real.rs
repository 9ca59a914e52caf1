//! The real runner, when its image is there: a component that fetches a URL through the proxy.

use std::process::{Command, Stdio};
use std::time::Instant;

use domain::limits::CellLimits;
use flowcell_worker::config::{Backend, PoolImage};
use proto::event::RunEventKind;
use proto::frame::Task;
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::skip;

/// The image that `scripts/images` builds; both take another name from the environment.
pub(crate) fn image() -> String {
    std::env::var_os("FLOWCELL_RUNNER_IMAGE")
        .map_or("flowcell/runner:lfx-1.13".into(), |name| name.into_string().unwrap())
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

/// Whether the image is there. Says so when it is not.
pub(crate) fn is_built() -> bool {
    let mut inspect = Command::new("docker");
    inspect.args(["image", "inspect", &image()]).stdout(Stdio::null()).stderr(Stdio::null());
    let built = inspect.status().unwrap().success();
    if !built {
        eprintln!("skipped: {} is not built", image());
    }
    built
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
    if skip() || !is_built() {
        return;
    }
    let port = server().await;
    let cluster = Cluster::with(|config| {
        config.pool.images = vec![PoolImage { image: image(), size: 1, backend: None }];
        config.limits = limits();
        config.sandbox.backend = backend;
        config.pool.ready_ms_max = 120_000;
        config.pool.take_ms_max = 120_000;
    })
    .await;
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
        assignment.egress = vec![EgressRule { host: "127.0.0.1".into(), port, private }];
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
