//! Every limit of a cell: what ends it, what it is called, and how fast.

use std::time::{Duration, Instant};

use domain::failure::{Failure, FailureKind};
use domain::limits::{CellLimits, Setting};
use proto::event::RunEventKind;
use proto::message::{Assignment, AttemptRef};

use crate::cluster::Cluster;
use crate::skip;

/// How long a container may take to be gone on a machine with other work.
pub(crate) const GONE_MAX: Duration = Duration::from_secs(3);

fn with(cluster: &Cluster, behaviour: &str, change: impl FnOnce(&mut CellLimits)) -> Assignment {
    let mut assignment = cluster.assignment(behaviour, "s");
    change(&mut assignment.limits);
    assignment
}

fn names(failure: &Failure, setting: Setting) {
    assert_eq!(failure.kind.setting(), Some(setting), "{failure:?}");
    let ours = failure.hint.as_deref().unwrap_or(&failure.message);
    assert!(ours.contains(&format!("`{setting}`")), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_counted_by_the_kernel() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    cluster.warm(1).await;
    let began = Instant::now();
    let spinning = with(&cluster, "spin", |limits| limits.cpu_ms = 500);
    let (outcome, figures) = cluster.run(spinning).await;
    let proto::message::ReportOutcome::Failed { failure } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, FailureKind::CpuTime { limit_ms: 500 });
    names(&failure, Setting::CpuMs);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let used = figures.cpu_ms.unwrap();
    eprintln!("ended after {used} ms of processor time, the limit is 500 ms");
    assert!((500..1_500).contains(&used), "{used}");
    // Waiting costs nothing, however long.
    let patient = with(&cluster, "slow:700", |limits| limits.cpu_ms = 500);
    let (_, figures) = cluster.run(patient).await;
    assert!(figures.cpu_ms.is_none_or(|used| used < 500), "{figures:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let failure = cluster.failure(with(&cluster, "frames", |limits| limits.tokens_max = 50)).await;
    assert_eq!(failure.kind, FailureKind::TooManyTokens { limit: 50 });
    names(&failure, Setting::TokensMax);
    cluster.result(with(&cluster, "events:50", |limits| limits.tokens_max = 50)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_output_are_cut_and_the_cell_goes_on() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let chatty = with(&cluster, "lines:500", |limits| limits.log_lines_max = 100);
    let run = chatty.attempt.run;
    cluster.result(chatty).await;
    let text = |event| match event {
        RunEventKind::Log { text, .. } => text,
        other => panic!("{other:?}"),
    };
    let lines: Vec<String> = cluster.events(run).await.into_iter().map(text).collect();
    assert_eq!(lines.len(), 101);
    assert_eq!(lines[99], "line 99\n");
    assert!(lines[100].contains("log_lines_max"), "{}", lines[100]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_processes_are_told_from_the_kernels_count() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    for behaviour in ["fork-fail", "fork-exit"] {
        let failure = cluster.failure(with(&cluster, behaviour, |limits| limits.pids = 12)).await;
        assert_eq!(failure.kind, FailureKind::TooManyProcesses { limit: 12 }, "{behaviour}");
        names(&failure, Setting::Pids);
    }
    let failure = cluster.failure(cluster.assignment("fail", "words")).await;
    assert_eq!(failure.kind, FailureKind::Component { exception: "RuntimeError".into() });
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runner_says_of_a_limit_is_beside_its_words() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    for (claim, kind) in [
        ("tmpfs_bytes", FailureKind::DiskFull { limit_bytes: 4_194_304 }),
        ("open_files", FailureKind::TooManyOpenFiles { limit: 70 }),
        // The kernel refused no process.
        ("pids", FailureKind::Component { exception: "RuntimeError".into() }),
    ] {
        let mut assignment = cluster.assignment("claim", claim);
        assignment.limits.open_files = 70;
        let failure = cluster.failure(assignment).await;
        assert_eq!(failure.message, "Error building Component Boom");
        assert_eq!(failure.kind, kind);
        kind.setting().inspect(|setting| names(&failure, *setting));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_is_told_what_only_it_can_set() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| config.caps.cpu_ms = 9_000).await;
    let assignment = with(&cluster, "limits", |limits| {
        limits.open_files = 100_000;
        limits.log_lines_max = 7;
    });
    let text = crate::cluster::text_of(&cluster.result(assignment).await);
    for part in [r#""open_files":4096"#, r#""cpu_ms":9000"#, r#""log_lines_max":7"#] {
        assert!(text.contains(part), "{part} in {text}");
    }
    cluster.stop().await;
}

/// The pieces `s-0`, `s-1`, … that a cell has streamed, without a gap.
async fn streamed(cluster: &Cluster, attempt: AttemptRef) -> usize {
    let events = cluster.events(attempt.run).await;
    for (index, event) in events.iter().enumerate() {
        let RunEventKind::Langflow { data, .. } = event else { panic!("{event:?}") };
        assert_eq!(data["chunk"], format!("s-{index}"));
    }
    events.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_timeout_and_a_cancel_the_container_is_gone_and_its_output_kept() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| config.pool.images[0].size = 3).await;
    let began = |attempt| cluster.scheduler.until(move |state| state.began.get(&attempt).cloned());

    cluster.warm(1).await;
    let slow = with(&cluster, "stream:10", |limits| limits.wall_ms = 1_500);
    let attempt = cluster.submit(slow).await;
    let container = began(attempt).await;
    let deadline = Instant::now() + Duration::from_millis(1_500);
    let (_, figures) = cluster.report(attempt).await;
    let reported = Instant::now().saturating_duration_since(deadline);
    cluster.gone(&container).await;
    let gone = Instant::now().saturating_duration_since(deadline);
    let kept = streamed(&cluster, attempt).await;
    eprintln!(
        "timeout: reported {} ms and gone {} ms after the deadline, {kept} pieces kept",
        reported.as_millis(),
        gone.as_millis()
    );
    assert!(gone < GONE_MAX, "{gone:?}");
    assert_eq!(u64::try_from(kept).unwrap(), figures.frames, "all that was received");
    assert!(kept > 30, "{kept}");

    for round in 0..3 {
        cluster.warm(1).await;
        let attempt = cluster.submit(cluster.assignment("stream:2", "s")).await;
        let container = began(attempt).await;
        while streamed(&cluster, attempt).await < 50 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = streamed(&cluster, attempt).await;
        let asked = Instant::now();
        cluster.order_stop(attempt).await;
        cluster.gone(&container).await;
        let gone = asked.elapsed();
        let kept = streamed(&cluster, attempt).await;
        eprintln!(
            "cancel {round}: gone after {} ms, {before} pieces before, {kept} kept",
            gone.as_millis()
        );
        assert!(gone < GONE_MAX, "{gone:?}");
        assert!(kept >= before);
    }
    cluster.stop().await;
}
