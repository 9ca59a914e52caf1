//! What a request and the tenant's variables make of a run's tasks.

use std::collections::BTreeMap;

use domain::retry::RetryPolicy;
use proto::event::RunEventKind;
use proto::message::{SchedulerReply, WorkerRequestBody};
use serde_json::json;
use store::{NewVariable, Secret, VariableKind};

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
