//! Which messages of its own run a cell finds in the history.

use domain::id::WorkerEpoch;
use domain::retry::RetryPolicy;
use proto::message::{Assignment, SchedulerReply, WorkerRequestBody};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Cluster, HOUR};

async fn asked(
    cluster: &Cluster,
    held: &Assignment,
    (op, nth): (&str, Option<u64>),
    args: Value,
) -> Value {
    let call = WorkerRequestBody::Call { attempt: held.attempt, op: op.to_owned(), args, nth };
    match cluster.ask(call).await {
        SchedulerReply::Call { ok: Some(ok), .. } => ok,
        other => panic!("{other:?}"),
    }
}

async fn says(cluster: &Cluster, held: &Assignment, text: &str) {
    let message = json!({"text": text, "sender": "User", "sender_name": "User", "session_id": "s"});
    asked(cluster, held, ("message.store", Some(0)), json!({"message": message})).await;
}

async fn hears(cluster: &Cluster, held: &Assignment) -> Vec<String> {
    hears_after(cluster, held, None).await
}

/// After its attempt has stored so many; a worker of before does not say.
async fn hears_after(cluster: &Cluster, held: &Assignment, stored: Option<u64>) -> Vec<String> {
    let answer = asked(cluster, held, ("messages.get", stored), json!({"session_id": "s"})).await;
    let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
    answer["messages"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_hears_the_layers_before_its_own_however_late_it_asks() {
    let mut cluster = Cluster::new().await;
    let data = testkit::flows::graph(&[
        ("ChatInput-a", &[]),
        ("Memory-b", &[]),
        ("Prompt-c", &["ChatInput-a", "Memory-b"]),
    ]);
    cluster.submit(data.clone(), RetryPolicy::default(), HOUR).await;
    let mut first = [cluster.take().await, cluster.take().await];
    first.sort_by_key(|held| held.attempt.task);
    let [input, memory] = first;
    says(&cluster, &input, "one").await;
    assert_eq!(hears(&cluster, &memory).await, [""; 0], "whichever of the two is faster");
    assert_eq!(hears(&cluster, &input).await, ["one"], "its own");
    cluster.done(&input).await;
    cluster.done(&memory).await;
    let prompt = cluster.take().await;
    assert_eq!(hears(&cluster, &prompt).await, ["one"]);
    cluster.done(&prompt).await;

    cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let mut second = [cluster.take().await, cluster.take().await];
    second.sort_by_key(|held| held.attempt.task);
    says(&cluster, &second[0], "two").await;
    assert_eq!(hears(&cluster, &second[1]).await, ["one"], "what earlier runs have said");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_attempt_does_not_find_what_a_lost_one_has_said() {
    let mut cluster = Cluster::new().await;
    cluster.beat(vec![]).await;
    let data = testkit::flows::graph(&[("Agent-a", &[])]);
    cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let lost = cluster.take().await;
    says(&cluster, &lost, "half of an ans").await;
    assert_eq!(hears_after(&cluster, &lost, Some(1)).await, ["half of an ans"]);
    assert_eq!(cluster.ask(WorkerRequestBody::Goodbye).await, SchedulerReply::Accepted);
    cluster.worker = WorkerEpoch(Uuid::new_v4());
    cluster.beat(vec![]).await;
    let further = cluster.take().await;
    assert_eq!(hears_after(&cluster, &further, Some(0)).await, [""; 0]);
    says(&cluster, &further, "an answer").await;
    assert_eq!(hears_after(&cluster, &further, Some(1)).await, ["an answer"]);
    cluster.end().await;
}
