//! Runs that somebody pauses.

use std::time::Duration;

use bus::Queue;
use domain::id::RunId;
use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use proto::event::RunEventKind;
use proto::message::{Hold, RunOrder, SchedulerReply, VERSION};
use store::{Concurrency, NewRun, Turn, now};
use uuid::Uuid;

use super::{Cluster, HOUR, PATIENCE, run_of};

impl Cluster {
    /// Orders it, and waits until it is so.
    async fn hold(&self, run: RunId, hold: Hold) {
        let order = RunOrder { v: VERSION, run, cancel: false, answered: false, hold: Some(hold) };
        let body = serde_json::to_vec(&order).unwrap().into();
        self.bus.enqueue(&Queue::Runs, &Uuid::new_v4().to_string(), body).await.unwrap();
        let until = tokio::time::Instant::now() + PATIENCE;
        while (self.state(run).await == RunState::Paused) != (hold == Hold::Pause) {
            assert!(tokio::time::Instant::now() < until, "nobody followed the order");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_paused_run_is_offered_or_granted() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let first = cluster.take().await;
    cluster.hold(run, Hold::Pause).await;
    assert_eq!(cluster.done(&first).await, SchedulerReply::Accepted);
    let view = cluster.tenant.run(run).await.unwrap();
    let states: Vec<TaskState> = view.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Done, TaskState::Waiting]);
    assert!(matches!(cluster.claim_task(run, 1).await, SchedulerReply::Refused { .. }));
    assert!(cluster.store.engine().queues_waiting().await.unwrap().is_empty());
    let late = now() + 2 * HOUR;
    assert!(cluster.store.engine().runs_late(late, 9).await.unwrap().is_empty());
    cluster.hold(run, Hold::Unpause).await;
    let second = cluster.take().await;
    assert_eq!((second.attempt.run, second.attempt.task), (run, 1));
    cluster.done(&second).await;
    let names: Vec<&str> = cluster.log(run).await.iter().map(RunEventKind::name).collect();
    let of_run: Vec<&&str> = names.iter().filter(|name| name.starts_with("run.")).collect();
    assert_eq!(of_run, [&"run.started", &"run.paused", &"run.unpaused", &"run.completed"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_is_not_open_and_comes_back_under_its_limit() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let data =
            testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
        let new = run_of(&cluster.tenant, &data, &cluster.needs, HOUR).await;
        let concurrency = Some(Concurrency { key: "one".into(), most: 1 });
        let turn = Turn { concurrency, ..Turn::default() };
        runs.push(cluster.tenant.submit(NewRun { turn, ..new }).await.unwrap().run);
    }
    let first = cluster.take().await;
    assert_eq!(first.attempt.run, runs[0]);
    cluster.hold(runs[0], Hold::Pause).await;
    let other = cluster.take().await;
    assert_eq!(other.attempt.run, runs[1], "its place is free");
    cluster.done(&first).await;
    cluster.hold(runs[0], Hold::Unpause).await;
    assert_eq!(cluster.state(runs[0]).await, RunState::Queued, "the limit holds for it too");
    cluster.done(&other).await;
    let rest = cluster.take().await;
    assert_eq!(rest.attempt.run, runs[1]);
    cluster.done(&rest).await;
    let last = cluster.take().await;
    assert_eq!((last.attempt.run, last.attempt.task), (runs[0], 1));
    cluster.done(&last).await;
    cluster.log(runs[0]).await;
    cluster.end().await;
}
