//! Each way to misbehave gives its own failure, and the next task does not notice.

use std::time::Instant;

use domain::failure::FailureKind;
use proto::event::RunEventKind;
use proto::message::ReportOutcome;

use crate::cluster::{CANARY, Cluster, limits};
use crate::skip;

macro_rules! fails {
    ($($name:ident: $behaviour:literal => $kind:pat, $setting:literal,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if skip() {
                return;
            }
            let cluster = Cluster::start().await;
            let failure = cluster.failure(cluster.assignment($behaviour, "s")).await;
            assert!(matches!(failure.kind, $kind), "{failure:?}");
            assert!(failure.message.contains($setting), "{failure:?}");
            assert_eq!(cluster.text("echo", "unharmed").await, "unharmed");
            cluster.stop().await;
        }
    )+};
}

fails! {
    exits_at_once: "exit:3" => FailureKind::ExitedEarly { exit_code: Some(3) }, "exit code 3",
    closes_its_connection: "close" => FailureKind::ExitedEarly { exit_code: None }, "closed",
    ends_inside_a_frame: "half" => FailureKind::ExitedEarly { exit_code: Some(0) }, "no result",
    floods_frames: "frames" => FailureKind::TooManyFrames { limit: 10_000 }, "`frames_max`",
    floods_bytes: "bytes" => FailureKind::OutputTooLarge { limit_bytes: 4_194_304 }, "`output_bytes_max`",
    sends_an_oversize_frame: "oversize" => FailureKind::OutputTooLarge { .. }, "`output_bytes_max`",
    sends_garbage: "garbage" => FailureKind::ProtocolViolation, "not a frame",
    sends_bad_json: "bad-json" => FailureKind::ProtocolViolation, "payload",
    sends_the_workers_frames: "wrong-kind" => FailureKind::ProtocolViolation, "kind 1",
    is_ready_twice: "ready-again" => FailureKind::ProtocolViolation, "ready twice",
    takes_all_memory: "alloc" => FailureKind::OutOfMemory { limit_bytes: 67_108_864 }, "`memory_bytes`",
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_and_flooding_stderr_end_at_the_deadline() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    for behaviour in ["sleep", "stderr-flood"] {
        let mut assignment = cluster.assignment(behaviour, "s");
        assignment.limits.wall_ms = 700;
        cluster.warm(1).await;
        let began = Instant::now();
        let failure = cluster.failure(assignment).await;
        assert!(matches!(failure.kind, FailureKind::TimedOut { limit_ms: 700 }), "{failure:?}");
        assert!(failure.message.contains("`wall_ms`"), "{failure:?}");
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
    assert_eq!(cluster.text("echo", "unharmed").await, "unharmed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_stops_at_its_limit() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let children: u32 = cluster.text("fork", "s").await.parse().unwrap();
    assert!(children < limits().pids, "{children}");
    let mut assignment = cluster.assignment("fork", "s");
    assignment.limits.pids = 10;
    let result = cluster.result(assignment).await;
    let children: u32 = crate::cluster::text_of(&result).parse().unwrap();
    assert!(children < 10, "a task's own limit: {children}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_have_less_or_more_memory_than_the_pool() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    for memory_bytes in [32 << 20, 96 << 20] {
        let mut assignment = cluster.assignment("alloc", "s");
        assignment.limits.memory_bytes = memory_bytes;
        let (outcome, figures) = cluster.run(assignment).await;
        let ReportOutcome::Failed { failure } = outcome else { panic!("it should have failed") };
        assert_eq!(failure.kind, FailureKind::OutOfMemory { limit_bytes: memory_bytes });
        eprintln!("pick-up with an update of the container: {} ms", figures.pick_up_ms);
        if let Some(peak) = figures.memory_peak_bytes {
            assert!(peak <= memory_bytes && peak > memory_bytes / 2, "{peak}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_cut_at_their_limit_and_hurt_nobody() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let assignment = cluster.assignment("logs:1000", "done");
    let run = assignment.attempt.run;
    cluster.result(assignment).await;
    let logs: Vec<String> = cluster
        .events(run)
        .await
        .into_iter()
        .filter_map(|kind| match kind {
            RunEventKind::Log { text, stream, .. } if stream == "stderr" => Some(text),
            _ => None,
        })
        .collect();
    let bytes: usize = logs.iter().map(String::len).sum();
    assert!((100_000..100_200).contains(&bytes), "{bytes}");
    assert!(logs.last().unwrap().contains("log_bytes_max"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_never_leave() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let assignment = cluster.assignment("leak", "s");
    let run = assignment.attempt.run;
    let result = cluster.result(assignment).await;
    assert_eq!(crate::cluster::text_of(&result), "{**********}");
    let events = cluster.events(run).await;
    assert_eq!(events.len(), 2);
    let text = format!("{events:?}");
    assert!(
        !text.contains("canary") && text.contains("[**********]") && text.contains("<**********>")
    );
    let failure = cluster.failure(cluster.assignment("fail", &format!("no {CANARY}"))).await;
    assert_eq!(failure.message, "no **********");
    assert_eq!(failure.kind, FailureKind::Component { exception: "RuntimeError".into() });
    assert_eq!(failure.component.as_deref(), Some("Boom"));
    cluster.stop().await;
}
