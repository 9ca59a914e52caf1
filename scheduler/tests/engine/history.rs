//! Which messages of its own run a cell finds in the history.

use domain::retry::RetryPolicy;
use proto::message::{Assignment, SchedulerReply, WorkerRequestBody};
use serde_json::{Value, json};

use crate::{Cluster, HOUR};

async fn asked(cluster: &Cluster, held: &Assignment, op: &str, args: Value) -> Value {
    let nth = (op == "message.store").then_some(0);
    let call = WorkerRequestBody::Call { attempt: held.attempt, op: op.to_owned(), args, nth };
    match cluster.ask(call).await {
        SchedulerReply::Call { ok: Some(ok), .. } => ok,
        other => panic!("{other:?}"),
    }
}

async fn says(cluster: &Cluster, held: &Assignment, text: &str) {
    let message = json!({"text": text, "sender": "User", "sender_name": "User", "session_id": "s"});
    asked(cluster, held, "message.store", json!({"message": message})).await;
}

async fn hears(cluster: &Cluster, held: &Assignment) -> Vec<String> {
    let answer = asked(cluster, held, "messages.get", json!({"session_id": "s"})).await;
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
