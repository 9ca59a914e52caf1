//! Runs that take over what an ended one finished.

use std::collections::BTreeSet;

use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use proto::event::RunEventKind;
use serde_json::json;
use store::{Again, NewRun};

use super::{Cluster, HOUR, run_of};

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_not_taken_over_is_done() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Prompt-b", &["ChatInput-a"]),
        ("ChatOutput-c", &["Prompt-b"]),
    ]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    for _ in 0..2 {
        let assignment = cluster.take().await;
        cluster.done(&assignment).await;
    }
    let last = cluster.take().await;
    cluster.order(run, true).await;
    cluster.log(run).await;
    assert_eq!(cluster.state(run).await, RunState::Cancelled);

    let ended = cluster.tenant.ended_run(run).await.unwrap().record;
    let again = Again {
        of: run,
        kept: BTreeSet::from([0, 1]),
        replaced: BTreeSet::new(),
        plan: None,
        operations: None,
        context: Some(json!({"seen": 7})),
        redrive: false,
    };
    let new = NewRun { again: Some(again), ..as_before(&cluster, &ended).await };
    let second = cluster.tenant.submit(new).await.unwrap().run;
    let assignment = cluster.take().await;
    assert_eq!((assignment.attempt.run, assignment.attempt.task), (second, 2));
    assert_eq!(assignment.task.inputs, last.task.inputs, "it gets what it would have got");
    assert_eq!(assignment.task.context["seen"], 7);
    cluster.done(&assignment).await;
    let log = cluster.log(second).await;
    let done = log.iter().filter(|kind| kind.name() == "task.done").count();
    assert_eq!((done, log.last().map(RunEventKind::name)), (1, Some("run.completed")));
    let view = cluster.tenant.run(second).await.unwrap();
    let states: Vec<_> = view.tasks.iter().map(|task| (task.state, task.attempt)).collect();
    assert_eq!(states, [(TaskState::Done, 0), (TaskState::Done, 0), (TaskState::Done, 1)]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_not_taken_is_not_taken_again() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let data = testkit::flows::graph(&[
        ("Router-a", &[]),
        ("Prompt-b", &["Router-a"]),
        ("Prompt-c", &[]),
        ("ChatOutput-d", &["Prompt-c"]),
    ]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    cluster.order(run, true).await;
    cluster.log(run).await;
    let ended = cluster.tenant.ended_run(run).await.unwrap().record;
    let nothing = Again {
        of: run,
        kept: BTreeSet::new(),
        replaced: BTreeSet::new(),
        plan: None,
        // As the engine writes what a router has switched off.
        operations: Some(json!({"inactive": ["Prompt-b"], "held": {}, "excluded": {}})),
        context: None,
        redrive: false,
    };
    let new = NewRun { again: Some(nothing), ..as_before(&cluster, &ended).await };
    let second = cluster.tenant.submit(new).await.unwrap().run;
    for _ in 0..3 {
        let assignment = cluster.take().await;
        assert_ne!(assignment.task.cell, "Prompt-b");
        cluster.done(&assignment).await;
    }
    cluster.log(second).await;
    let view = cluster.tenant.run(second).await.unwrap();
    let skipped: Vec<&str> = view
        .tasks
        .iter()
        .filter(|task| task.state == TaskState::Skipped)
        .map(|task| task.cell.as_str())
        .collect();
    assert_eq!(skipped, ["Prompt-b"]);
    cluster.end().await;
}

/// A run of the same version with the same tasks.
async fn as_before(cluster: &Cluster, ended: &store::RunRecord) -> NewRun {
    let graph = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let other = run_of(&cluster.tenant, &graph, &cluster.needs, HOUR).await;
    let tasks = ended.run.tasks.iter().zip(&ended.cells).map(|(task, cell)| store::NewTask {
        cell: cell.clone(),
        depends_on: task.depends_on.clone(),
        terms: task.terms.clone(),
    });
    NewRun {
        flow: ended.flow,
        version: ended.flow_version,
        tasks: tasks.collect(),
        request: ended.request.clone(),
        ..other
    }
}
