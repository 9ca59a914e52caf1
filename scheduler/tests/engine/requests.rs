//! What a request and the tenant's variables make of a run's tasks.

use std::collections::BTreeMap;

use domain::id::RunId;
use domain::limits::CellLimits;
use domain::retry::RetryPolicy;
use proto::event::RunEventKind;
use proto::message::{SchedulerReply, WorkerRequestBody};
use serde_json::json;
use store::{NewRun, NewTask, NewVariable, Secret, VariableKind, now};
use uuid::Uuid;

use super::{Cluster, HOUR};

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_fills_the_fields_that_it_is_the_default_of() {
    let mut cluster = Cluster::new().await;
    let mut data = testkit::flows::graph(&[("Alpha-a", &[])]);
    data["nodes"][0]["data"]["node"]["template"]["key"] =
        json!({"type": "str", "display_name": "Api Key", "value": ""});
    let new = NewVariable {
        name: "KEY".to_owned(),
        kind: VariableKind::Credential,
        value: Secret::new("stored"),
        default_fields: vec!["Api Key".to_owned()],
    };
    cluster.tenant.create_variable(new).await.unwrap();
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let taken = cluster.take().await;
    let field = &taken.task.graph["nodes"][0]["data"]["node"]["template"]["key"];
    assert_eq!((&field["value"], &field["load_from_db"]), (&json!("KEY"), &json!(true)));
    assert_eq!(taken.task.variables["KEY"], "stored");
    assert_eq!(taken.secrets, ["KEY".to_owned()].into());
    let call = WorkerRequestBody::Call {
        attempt: taken.attempt,
        op: "variable.get".to_owned(),
        args: json!({"name": "KEY"}),
        nth: None,
    };
    let SchedulerReply::Call { ok: Some(told), .. } = cluster.ask(call).await else { panic!() };
    assert_eq!(told, json!({"value": "stored", "secret": true}));
    cluster.done(&taken).await;
    cluster.log(run).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_told_what_all_nodes_before_it_spent() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[
        ("Agent-a", &[]),
        ("Agent-b", &["Agent-a"]),
        ("Prompt-c", &["Agent-b", "Agent-a"]),
        ("ChatOutput-d", &["Prompt-c", "Agent-b"]),
    ]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let mut told = BTreeMap::new();
    for spent in [3u64, 40, 500, 0] {
        let taken = cluster.take().await;
        told.insert(taken.task.cell.clone(), taken.task.upstream_usage.clone());
        let usage = json!({"input_tokens": spent, "output_tokens": 1, "total_tokens": spent + 1});
        cluster.done_with(&taken, json!({"token_usage": usage})).await;
    }
    cluster.log(run).await;
    // Agent-a counts once, with the neighbour before which it comes first.
    let expected = json!({
        "Agent-a": null, "Agent-b": null, "Prompt-c": null,
        "ChatOutput-d": {
            "Agent-b": {"input_tokens": 43, "output_tokens": 2},
            "Prompt-c": {"input_tokens": 500, "output_tokens": 1},
        },
    });
    assert_eq!(json!(told), expected);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_builds_the_part_that_was_asked_for() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Prompt-b", &["ChatInput-a"]),
        ("Prompt-c", &["Prompt-b"]),
        ("Side-d", &["ChatInput-a"]),
    ]);
    cluster.more = json!({"stop_component_id": "Prompt-b"});
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    for cell in ["ChatInput-a", "Prompt-b"] {
        let taken = cluster.take().await;
        assert_eq!(taken.task.cell, cell);
        cluster.done(&taken).await;
    }
    let log = cluster.log(run).await;
    assert_eq!(log.last(), Some(&RunEventKind::RunCompleted));
    cluster.end().await;
}

/// Another run of the same flow, with what `more` says now.
async fn repeat(cluster: &Cluster, run: RunId) -> RunId {
    let first = cluster.store.engine().load(run).await.unwrap().unwrap();
    let id = RunId(Uuid::now_v7());
    let mut request = json!({"input_value": "hello", "session_id": "s1"});
    request.as_object_mut().unwrap().extend(cluster.more.as_object().unwrap().clone());
    let tasks = first.cells.iter().zip(&first.run.tasks);
    let new = NewRun {
        id,
        flow: first.flow,
        version: first.flow_version,
        tasks: tasks
            .map(|(cell, task)| NewTask {
                cell: cell.clone(),
                depends_on: task.depends_on.clone(),
                terms: task.terms.clone(),
            })
            .collect(),
        request,
        session_id: "s1".into(),
        deadline: now() + HOUR,
        retry: RetryPolicy::default(),
        limits: CellLimits::default(),
        isolation: "component".into(),
        idempotency_key: None,
        parent: None,
        again: None,
        detached: false,
        turn: store::Turn::default(),
        submitted_by: None,
        now: now(),
    };
    cluster.tenant.submit(new).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_components_result_is_used_again_for_the_same() {
    let mut cluster = Cluster::new().await;
    let mut data = testkit::flows::graph(&[("Alpha-a", &[]), ("ChatOutput-b", &["Alpha-a"])]);
    data["nodes"][0]["data"]["node"]["frozen"] = json!(true);
    let first = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    for cell in ["Alpha-a", "ChatOutput-b"] {
        let taken = cluster.take().await;
        assert_eq!(taken.task.cell, cell);
        cluster.done(&taken).await;
    }
    cluster.log(first).await;

    // No worker gets it, and what comes after gets what it gave then.
    let second = repeat(&cluster, first).await;
    let taken = cluster.take().await;
    assert_eq!(taken.task.cell, "ChatOutput-b");
    assert_eq!(taken.task.inputs["Alpha-a"]["message"], "made by Alpha-a");
    cluster.done(&taken).await;
    let done = |kind: &RunEventKind| matches!(kind, RunEventKind::TaskDone { .. });
    assert_eq!(cluster.log(second).await.iter().filter(|kind| done(kind)).count(), 2);
    let cells = ["Alpha-a".to_owned()];
    let results = cluster.tenant.results(second, &cells).await.unwrap();
    assert_eq!(results["Alpha-a"].nodes["Alpha-a"].result["used_frozen_result"], true);

    // With another field it is not the same.
    cluster.more = json!({"tweaks": {"Alpha-a": {"input_value": "other"}}});
    let third = repeat(&cluster, first).await;
    for cell in ["Alpha-a", "ChatOutput-b"] {
        let taken = cluster.take().await;
        assert_eq!(taken.task.cell, cell);
        cluster.done(&taken).await;
    }
    cluster.log(third).await;
    cluster.end().await;
}
