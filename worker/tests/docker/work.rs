//! From an offer to a report, with schedulers that come and go.

use std::time::{Duration, Instant};

use bus::Queue;
use bus::wire::encode;
use futures::future::join_all;
use proto::event::RunEventKind;
use proto::message::{ReportOutcome, TaskOffered, VERSION};

use crate::cluster::{Cluster, text_of};
use crate::skip;

#[tokio::test(flavor = "multi_thread")]
async fn events_are_in_order_and_stored_before_the_report() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let assignment = cluster.assignment("events:500", "e");
    let attempt = assignment.attempt;
    let (_, figures) = cluster.run(assignment).await;
    let events = cluster.events(attempt.run).await;
    assert_eq!(events.len(), 500);
    for (index, event) in events.iter().enumerate() {
        let RunEventKind::Langflow { cell, attempt, event, data } = event else {
            panic!("{event:?}")
        };
        assert_eq!((cell.as_str(), *attempt, event.as_str()), ("N-1", 1, "token"));
        assert_eq!(data["chunk"], format!("e-{index}"));
    }
    assert_eq!(figures.frames, 501);
    assert!(figures.container.is_some() && figures.output_bytes > 500 * 20);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_by_the_schedulers() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let text = cluster.text("calls:40", "hello").await;
    let answers: Vec<&str> = text.lines().collect();
    assert_eq!(answers.len(), 40);
    for id in 0..40 {
        let answer = format!(r#"{{"id":{id},"ok":{{"echo":{{"n":{id},"s":"hello"}}}}}}"#);
        assert!(answers.contains(&answer.as_str()), "{answer} in {text}");
    }
    assert_eq!(cluster.scheduler.with(|state| state.calls), 40);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_tasks_at_once_do_not_mix() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| config.slots = 6).await;
    let began = Instant::now();
    let tasks = (0..20).map(|index| {
        let assignment = cluster.assignment("events:20", &format!("task-{index}"));
        let run = assignment.attempt.run;
        let cluster = &cluster;
        async move {
            let (outcome, figures) = cluster.run(assignment).await;
            let ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
            assert_eq!(text_of(&result), format!("task-{index}"));
            for event in cluster.events(run).await {
                let RunEventKind::Langflow { data, .. } = event else { panic!("{event:?}") };
                let chunk = data["chunk"].as_str().unwrap();
                assert!(chunk.starts_with(&format!("task-{index}-")), "{chunk}");
            }
            figures.container.unwrap()
        }
    });
    let mut containers = join_all(tasks).await;
    eprintln!("20 tasks in {} ms", began.elapsed().as_millis());
    containers.sort();
    containers.dedup();
    assert_eq!(containers.len(), 20, "a container of its own for each");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_done_within_a_second() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    for by_order in [true, false] {
        cluster.warm(1).await;
        let attempt = cluster.submit(cluster.assignment("sleep", "s")).await;
        let container = cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
        let asked = Instant::now();
        if by_order {
            cluster.order_stop(attempt).await;
        } else {
            cluster.scheduler.with(|state| state.stop.insert(attempt));
        }
        cluster.gone(&container).await;
        let took = asked.elapsed();
        eprintln!("cancelled in {} ms (by order: {by_order})", took.as_millis());
        // A heartbeat comes every two seconds; an order has no such wait.
        let most = if by_order { 1 } else { 4 };
        assert!(took < Duration::from_secs(most), "{took:?}");
        assert!(cluster.scheduler.with(|state| !state.reports.contains_key(&attempt)));
    }
    assert_eq!(cluster.text("echo", "unharmed").await, "unharmed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_kept_until_a_scheduler_answers() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let attempt = cluster.submit(cluster.assignment("slow:2000", "kept")).await;
    let container = cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    cluster.scheduler.with(|state| state.away = true);
    cluster.gone(&container).await;
    assert_eq!(cluster.worker.health().attempts, 1, "held although its container is gone");
    cluster.scheduler.with(|state| state.away = false);
    let (outcome, figures) = cluster.report(attempt).await;
    let ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
    assert_eq!(text_of(&result), "kept");
    assert_eq!(figures.container, Some(container));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_nobody_renews_ends_the_container() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let attempt = cluster.submit(cluster.assignment("slow:19000", "s")).await;
    let container = cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    cluster.scheduler.with(|state| state.away = true);
    let away = Instant::now();
    cluster.gone(&container).await;
    let took = away.elapsed();
    assert!(took > Duration::from_secs(7) && took < Duration::from_secs(15), "{took:?}");
    cluster.scheduler.with(|state| state.away = false);
    assert!(cluster.scheduler.with(|state| state.reports.is_empty()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_no_more_is_dropped_and_one_unanswered_comes_again() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let gone = cluster.assignment("echo", "s").attempt;
    let offer = TaskOffered { v: VERSION, run: gone.run, task: gone.task };
    let queue = Queue::Tasks { pool: "default".into(), depth: 0 };
    let body = encode("test", &offer).unwrap();
    cluster.bus.enqueue(&queue, "gone", body).await.unwrap();
    cluster.scheduler.with(|state| state.away = true);
    let attempt = cluster.submit(cluster.assignment("echo", "again")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.scheduler.with(|state| state.away = false);
    let (outcome, _) = cluster.report(attempt).await;
    assert!(matches!(outcome, ReportOutcome::Done { .. }));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_runs_and_gives_up_at_its_deadline() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let attempt = cluster.submit(cluster.assignment("slow:1500", "finished")).await;
    cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    let scheduler = cluster.scheduler.clone();
    cluster.stop().await;
    assert_eq!(scheduler.with(|state| (state.reports.len(), state.goodbyes)), (1, 1));

    let cluster = Cluster::start().await;
    let attempt = cluster.submit(cluster.assignment("sleep", "s")).await;
    cluster.scheduler.until(|state| state.began.get(&attempt).cloned()).await;
    let scheduler = cluster.scheduler.clone();
    let began = Instant::now();
    cluster.worker.drain(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    cluster.stop().await;
    assert_eq!(scheduler.with(|state| (state.reports.len(), state.goodbyes)), (0, 1));
}

/// The figures of `docs/`: how long a slot takes to make, to pick up and to destroy.
#[tokio::test(flavor = "multi_thread")]
async fn measured() {
    if skip() {
        return;
    }
    let cluster = Cluster::with(|config| config.pool.images[0].size = 4).await;
    cluster.warm(4).await;
    let (mut whole, mut pick_ups, mut destroys) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..12 {
        cluster.warm(2).await;
        let began = Instant::now();
        let (_, figures) = cluster.run(cluster.assignment("echo", "s")).await;
        whole.push(began.elapsed().as_micros());
        pick_ups.push(figures.pick_up_ms);
        let ended = Instant::now();
        cluster.gone(&figures.container.unwrap()).await;
        destroys.push(ended.elapsed().as_millis());
    }
    let figures = cluster.worker.figures();
    whole.sort_unstable();
    pick_ups.sort_unstable();
    destroys.sort_unstable();
    eprintln!(
        "slot create mean {} ms; offer to report median {} us; pick-up median {} ms, max {} ms; \
         gone after report median {} ms",
        figures.prepare_ms / figures.prepared.max(1),
        whole[6],
        pick_ups[6],
        pick_ups[11],
        destroys[6]
    );
    cluster.stop().await;
}
