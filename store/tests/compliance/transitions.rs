//! Transitions: all or nothing, one winner, nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use domain::run::{Command, Outcome, PlannedTask, Refused, RunState, TaskState, decide};
use proto::frame::{NodeResult, TokenUsage, UsageByNode};
use proto::message::Figures;
use serde_json::json;
use store::{AttemptFigures, BatchOutcome, Error, OutboxMessage, Transition};
use uuid::Uuid;

use crate::fixture::{Fixture, T0, began, claim, finish, result, transition, worker};

on_both! {
    a_run_goes_its_way,
    a_failed_attempt_is_recorded_and_repeated,
    cancelling_ends_open_attempts,
    the_second_of_two_commits_loses,
    concurrent_committers_have_one_winner,
    a_repeated_report_changes_nothing,
    a_failing_commit_leaves_nothing,
    a_batch_decides_about_each_run,
    large_results_come_back_whole,
    what_nodes_spent_is_kept_beside_their_result,
    many_tasks_change_in_one_transition,
    a_run_goes_on_under_another_plan,
}

async fn a_run_goes_on_under_another_plan(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    let (w, engine) = (worker(1), f.store.engine());
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, w), T0).await;
    let planned = |task, cell: &str, depends_on: &[u32]| PlannedTask {
        task,
        cell: cell.into(),
        depends_on: depends_on.to_vec(),
    };
    let kind = FailureKind::ValueNotPortable { value_type: "T".into() };
    let outcome = Outcome::Replanned {
        failure: Failure::new(kind, "it cannot leave"),
        replaced: vec![0, 1],
        planned: vec![planned(2, "C", &[3]), planned(3, "AB", &[])],
        skip: vec![],
    };
    let record = f.load(run).await;
    let finish = Command::Finish { task: 0, attempt: 1, worker: w, outcome };
    let decision = decide(&record.run, &finish, T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.plan = Some(json!({"cells": ["new"]}));
    engine.commit(change).await.unwrap();

    let record = f.load(run).await;
    assert_eq!(record.cells, ["A", "B", "C", "AB"]);
    assert_eq!(record.plan, Some(json!({"cells": ["new"]})));
    let states: Vec<TaskState> = record.run.tasks.iter().map(|task| task.state).collect();
    use TaskState::{Ready, Replaced, Waiting};
    assert_eq!(states, [Replaced, Replaced, Waiting, Ready]);
    assert_eq!(record.run.tasks[2].depends_on, [3]);
    f.step(run, claim(3, w), T0).await;
    let view = owner.tenant.run(run).await.unwrap();
    assert_eq!(view.plan, record.plan, "kept where it did not change");
    assert_eq!(view.tasks[0].attempts[0].outcome.as_deref(), Some("failed"));
}

async fn a_run_goes_its_way(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    let (w, engine) = (worker(1), f.store.engine());
    f.step(run, Command::Start { skip: vec![] }, T0 + Duration::from_millis(1)).await;
    for task in 0..3u32 {
        f.step(run, claim(task, w), T0 + Duration::from_millis(2)).await;
        let record = f.load(run).await;
        let now = T0 + Duration::from_millis(3);
        let decision = decide(&record.run, &began(task, w), now).unwrap();
        let mut change = transition(&record, &decision, now);
        let container = Some(format!("c{task}\0"));
        change.figures = vec![AttemptFigures { task, attempt: 1, container, figures: None }];
        engine.commit(change).await.unwrap();

        let record = f.load(run).await;
        let now = T0 + Duration::from_millis(4);
        let decision = decide(&record.run, &finish(task, w), now).unwrap();
        let mut change = transition(&record, &decision, now);
        let figures = Some(Figures { run_ms: 7, ..Figures::default() });
        change.figures = vec![AttemptFigures { task, attempt: 1, container: None, figures }];
        change.results = vec![result(task, 100)];
        change.operations = Some(serde_json::json!([task]));
        change.context = (task == 0).then(|| serde_json::json!({"k": "v"}));
        engine.commit(change).await.unwrap();
    }
    let record = f.load(run).await;
    assert_eq!(record.run.state, RunState::Completed);
    assert_eq!(record.version, 10);
    assert_eq!(record.cells, ["A", "B", "C"]);
    assert_eq!(record.flow_name, "Echo");
    assert_eq!(record.operations, serde_json::json!([2]));
    assert_eq!(record.context, serde_json::json!({"k": "v"}), "kept where it did not change");

    let view = owner.tenant.run(run).await.unwrap();
    assert_eq!(view.header.started, Some(T0 + Duration::from_millis(1)));
    assert_eq!(view.header.ended, Some(T0 + Duration::from_millis(4)));
    assert_eq!(view.request, serde_json::json!({"input_value": "hello"}));
    let task = &view.tasks[1];
    assert_eq!((task.state, task.attempt, task.attempts.len()), (TaskState::Done, 1, 1));
    let attempt = &task.attempts[0];
    assert_eq!(attempt.container.as_deref(), Some("c1"));
    assert_eq!(attempt.outcome.as_deref(), Some("done"));
    assert_eq!(attempt.began, Some(T0 + Duration::from_millis(3)));
    assert_eq!(attempt.figures.as_ref().map(|figures| figures.run_ms), Some(7));

    let cells = ["C".to_owned(), "A".to_owned(), "missing".to_owned()];
    let results = owner.tenant.results(run, &cells).await.unwrap();
    assert_eq!(results.keys().collect::<Vec<_>>(), ["A", "C"]);
    assert_eq!(engine.results(run, &[1]).await.unwrap()[&1], result(1, 100).result);
    assert_eq!(owner.tenant.event_log(run).await.unwrap(), None);
    engine.archive_event_log(run, b"log").await.unwrap();
    engine.archive_event_log(run, b"another").await.unwrap();
    assert_eq!(owner.tenant.event_log(run).await.unwrap().unwrap(), b"log");
}

async fn a_failed_attempt_is_recorded_and_repeated(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    let failure = Failure::new(FailureKind::WorkerLost, "gone");
    let lost = Command::Lost { task: 0, attempt: 1, worker: worker(1), failure: failure.clone() };
    f.step(run, lost, T0).await;
    f.step(run, claim(0, worker(2)), T0 + Duration::from_secs(1)).await;
    let failure = Failure::new(FailureKind::Component { exception: "E\0".into() }, "nul \0 inside");
    let outcome = Outcome::Failed(failure.clone());
    let finish = Command::Finish { task: 0, attempt: 2, worker: worker(2), outcome };
    f.step(run, finish, T0 + Duration::from_secs(2)).await;

    let view = owner.tenant.run(run).await.unwrap();
    assert_eq!(view.header.state, RunState::Failed);
    assert_eq!(view.header.failure, Some(failure));
    let outcomes: Vec<_> = view.tasks[0].attempts.iter().map(|a| a.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("failed"), Some("failed")]);
    assert_eq!(view.tasks[0].attempts[1].worker, worker(2));
    assert_eq!(view.tasks[1].state, TaskState::Cancelled);
    assert!(view.tasks[1].attempts.is_empty());
}

async fn cancelling_ends_open_attempts(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    f.step(run, Command::Cancel, T0 + Duration::from_secs(1)).await;
    let view = owner.tenant.run(run).await.unwrap();
    let attempt = &view.tasks[0].attempts[0];
    assert_eq!(attempt.outcome.as_deref(), Some("cancelled"));
    assert_eq!(attempt.ended, Some(T0 + Duration::from_secs(1)));
    assert!(f.store.engine().attempts_of(worker(1)).await.unwrap().is_empty());
}

async fn the_second_of_two_commits_loses(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let record = f.load(run).await;
    let decision = decide(&record.run, &Command::Start { skip: vec![] }, T0).unwrap();
    let mut first = transition(&record, &decision, T0);
    first.outbox = vec![OutboxMessage::new("tasks", "first", vec![1], T0)];
    let mut second = transition(&record, &decision, T0);
    second.outbox = vec![OutboxMessage::new("tasks", "second", vec![2], T0)];
    second.results = vec![result(0, 100_000)];
    f.store.engine().commit(first).await.unwrap();
    let lost = f.store.engine().commit(second).await;
    assert!(matches!(lost, Err(Error::VersionConflict)), "{lost:?}");
    assert_eq!(f.load(run).await.version, 1);
    let messages = f.store.engine().unpublished(10, T0 + Duration::from_secs(1)).await.unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message.message_id.as_str()).collect();
    assert!(ids.contains(&"first") && !ids.contains(&"second"), "{ids:?}");
    assert!(f.store.engine().results(run, &[0]).await.unwrap().is_empty());

    let unknown =
        Transition::new(0, domain::run::Run { id: RunId(Uuid::nil()), ..record.run }, vec![], T0);
    assert!(matches!(f.store.engine().commit(unknown).await, Err(Error::VersionConflict)));
}

async fn concurrent_committers_have_one_winner(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    let other = f.another_process().await;
    let record = f.load(run).await;
    let commits = (1..=8u128).map(|n| {
        let decision = decide(&record.run, &claim(0, worker(n)), T0).unwrap();
        let change = transition(&record, &decision, T0);
        let engine = if n % 2 == 0 { f.store.engine() } else { other.engine() };
        tokio::spawn(async move { engine.commit(change).await })
    });
    let mut won = 0;
    for commit in futures::future::join_all(commits).await {
        match commit.unwrap() {
            Ok(()) => won += 1,
            Err(error) => assert!(matches!(error, Error::VersionConflict), "{error:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(f.load(run).await.version, 2);
    other.close().await.unwrap();
}

async fn a_repeated_report_changes_nothing(f: &Fixture) {
    let owner = f.owner("a").await;
    let run = owner.submit().await;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, claim(0, worker(1)), T0).await;
    let record = f.load(run).await;
    let decision = decide(&record.run, &finish(0, worker(1)), T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    change.results = vec![result(0, 100_000)];
    f.store.engine().commit(change.clone()).await.unwrap();
    let after = owner.tenant.run(run).await.unwrap();

    let repeated = f.store.engine().commit(change).await;
    assert!(matches!(repeated, Err(Error::VersionConflict)), "{repeated:?}");
    let record = f.load(run).await;
    assert_eq!(decide(&record.run, &finish(0, worker(1)), T0), Err(Refused::AlreadyDone));
    assert_eq!(owner.tenant.run(run).await.unwrap(), after);

    // The same result once more, in a transition that does count, keeps the first one.
    let mut again = Transition::new(record.version, record.run, vec![], T0);
    again.results = vec![result(0, 10)];
    f.store.engine().commit(again).await.unwrap();
    let stored = f.store.engine().results(run, &[0]).await.unwrap();
    assert_eq!(stored[&0], result(0, 100_000).result);
}

async fn a_failing_commit_leaves_nothing(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let record = f.load(run).await;
    let decision = decide(&record.run, &Command::Start { skip: vec![] }, T0).unwrap();
    let mut change = transition(&record, &decision, T0);
    let message = OutboxMessage::new("tasks", "m", vec![], T0);
    // The same row twice: the last statement of the transaction fails.
    change.outbox = vec![message.clone(), message];
    change.results = vec![result(0, 100_000)];
    let failed = f.store.engine().commit(change).await;
    let failed = failed.unwrap_err();
    assert!(matches!(failed, Error::Database { .. }), "{failed:?}");
    assert!(!failed.is_transient(), "trying again would fail again: {failed:?}");
    assert_eq!(f.load(run).await, record, "the run is as it was");
    assert!(f.store.engine().results(run, &[0]).await.unwrap().is_empty());
    let messages = f.store.engine().unpublished(10, T0 + Duration::from_secs(1)).await.unwrap();
    assert_eq!(messages, [], "of a commit that failed nothing is promised");
}

async fn a_batch_decides_about_each_run(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut batch = Vec::new();
    for _ in 0..5 {
        let record = f.load(owner.submit().await).await;
        let decision = decide(&record.run, &Command::Start { skip: vec![] }, T0).unwrap();
        batch.push(transition(&record, &decision, T0));
    }
    let stale = batch[2].run();
    f.step(stale, Command::Cancel, T0).await;
    // Two transitions of one run, one after the other.
    let first = &batch[0];
    let decision = decide(&first.after, &claim(0, worker(1)), T0).unwrap();
    let mut after = first.after.clone();
    decision.events.iter().for_each(|event| after.apply(event));
    batch.push(Transition::new(1, after.clone(), decision.events, T0));

    let run = batch[0].run();
    let outcomes = f.store.engine().commit_batch(batch).await.unwrap();
    use BatchOutcome::{Committed as C, VersionConflict as V};
    assert_eq!(outcomes, [C, C, V, C, C, C]);
    assert_eq!(f.load(run).await.run, after);
    assert_eq!(f.load(run).await.version, 2);
    assert_eq!(f.load(stale).await.run.state, RunState::Cancelled);
    assert_eq!(f.store.engine().attempts_of(worker(1)).await.unwrap().len(), 1);
    assert_eq!(f.store.engine().commit_batch(vec![]).await.unwrap(), []);
}

async fn what_nodes_spent_is_kept_beside_their_result(f: &Fixture) {
    let run = f.owner("a").await.submit().await;
    let (w, engine) = (worker(1), f.store.engine());
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    for task in 0..2u32 {
        f.step(run, claim(task, w), T0).await;
        let record = f.load(run).await;
        let decision = decide(&record.run, &finish(task, w), T0).unwrap();
        let mut change = transition(&record, &decision, T0);
        let mut given = result(task, 100);
        let spent =
            if task == 1 { json!({"input_tokens": 3, "output_tokens": 4}) } else { json!(null) };
        let node = NodeResult {
            outputs: BTreeMap::new(),
            result: json!({"token_usage": spent}),
            valid: true,
        };
        given.result.nodes.insert("N".to_owned(), node);
        change.results = vec![given];
        engine.commit(change).await.unwrap();
    }
    let spent = TokenUsage { input_tokens: 3, output_tokens: 4 };
    let of_node = UsageByNode::from([("N".to_owned(), spent)]);
    assert_eq!(engine.usage(run, &[0, 1, 2]).await.unwrap(), [of_node]);
    assert_eq!(engine.usage(run, &[0]).await.unwrap(), []);
}

async fn large_results_come_back_whole(f: &Fixture) {
    let owner = f.owner("a").await;
    let sizes = [10, 32 * 1024 + 1, 3_500_000];
    let runs = [owner.submit().await, owner.submit().await];
    for run in runs {
        let record = f.load(run).await;
        let mut change = Transition::new(record.version, record.run, vec![], T0);
        change.results = (0u32..).zip(sizes).map(|(task, bytes)| result(task, bytes)).collect();
        f.store.engine().commit(change).await.unwrap();
    }
    for run in runs {
        let results = f.store.engine().results(run, &[0, 1, 2]).await.unwrap();
        for (task, bytes) in (0u32..).zip(sizes) {
            assert_eq!(results[&task], result(task, bytes).result, "{bytes} bytes");
        }
    }
}

async fn many_tasks_change_in_one_transition(f: &Fixture) {
    let owner = f.owner("a").await;
    let mut new = owner.new_run();
    new.tasks = (0..2_000).map(|n| crate::fixture::task(&format!("cell-{n}"), &[])).collect();
    let run = owner.tenant.submit(new).await.unwrap().run;
    f.step(run, Command::Start { skip: vec![] }, T0).await;
    f.step(run, Command::Cancel, T0).await;
    let record = f.load(run).await;
    assert_eq!(record.run.tasks.len(), 2_000);
    assert!(record.run.tasks.iter().all(|task| task.state == TaskState::Cancelled));
}
