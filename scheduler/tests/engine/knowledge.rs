//! Knowledge bases of the run's user, and of nobody else.

use domain::id::WorkerEpoch;
use proto::message::{Assignment, SchedulerReply, WorkerRequestBody};
use serde_json::{Value, json};
use store::{NewKnowledgeBase, NewUser, NewVariable, Secret, VariableKind};
use uuid::Uuid;

use crate::{Cluster, HOUR, Needs, run_of};

async fn asked(
    cluster: &Cluster,
    held: &Assignment,
    op: &str,
    args: Value,
) -> Result<Value, String> {
    let op = op.to_owned();
    let call = WorkerRequestBody::Call { attempt: held.attempt, op, args, nth: None };
    match cluster.ask(call).await {
        SchedulerReply::Call { ok: Some(ok), .. } => Ok(ok),
        SchedulerReply::Call { error: Some(error), .. } => Err(error.kind),
        other => panic!("{other:?}"),
    }
}

async fn found(cluster: &Cluster, held: &Assignment, base: &Value) -> Value {
    let answer = asked(cluster, held, "knowledge.read", json!({"id": base})).await.unwrap();
    assert_eq!(answer["more"], false);
    answer["segments"].clone()
}

/// A run of a user who has the base `laws`, of a flow with a node that names it.
async fn start(cluster: &Cluster) {
    let t = &cluster.tenant;
    let me = t.users().await.unwrap()[0].id;
    let (username, password) = ("other".into(), Secret::new("p"));
    let new = NewUser { username, password, is_superuser: false };
    let other = t.create_user(new).await.unwrap().id;
    for (user, name) in [(me, "laws"), (other, "theirs")] {
        let configuration = json!({"model_selection": {"name": "m", "provider": "OpenAI"}});
        let new = NewKnowledgeBase { user, name: name.into(), configuration };
        t.create_knowledge_base(new).await.unwrap();
    }
    for name in ["OPENAI_API_KEY", "GROQ_API_KEY"] {
        let (kind, value) = (VariableKind::Credential, Secret::new("sk"));
        let new = NewVariable { name: name.into(), kind, value, default_fields: vec![] };
        t.create_variable(new).await.unwrap();
    }
    let mut data = testkit::flows::graph(&[("Knowledge-a", &[])]);
    data["nodes"][0]["data"]["node"]["template"]["knowledge_base"] = json!({"value": "laws"});
    let mut new = run_of(t, &data, &Needs::default(), HOUR).await;
    new.submitted_by = Some(me);
    t.submit(new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_uses_its_users_bases() {
    let mut cluster = Cluster::new().await;
    start(&cluster).await;
    let held = cluster.take().await;
    let call = async |op: &str, args: Value| asked(&cluster, &held, op, args).await;
    let base = call("knowledge.get", json!({"name": "laws"})).await.unwrap();
    assert_eq!(base["configuration"]["model_selection"]["name"], "m");
    for name in ["theirs", "none"] {
        assert_eq!(call("knowledge.get", json!({"name": name})).await.unwrap_err(), "not_found");
    }
    let add = json!({"id": base["id"], "nth": 0, "chunks": [{"content": "one"}]});
    call("knowledge.add", add.clone()).await.unwrap();
    call("knowledge.add", add).await.unwrap();
    assert_eq!(found(&cluster, &held, &base["id"]).await, json!([[{"content": "one"}]]));
    let figures = json!({"chunks": 1, "mine": 2, "status": "x".repeat(5_000)});
    let note = json!({"id": base["id"], "figures": figures});
    let noted = call("knowledge.note", note).await.unwrap();
    assert_eq!(noted["figures"], json!({"chunks": 1}), "nothing else finds room there");
    for wrong in [json!({}), json!({"id": Uuid::nil()}), json!({"id": base["id"]})] {
        assert!(call("knowledge.add", wrong).await.is_err());
    }
    // What the base is embedded with; a provider that it has nothing to do with is refused.
    let key = call("variable.get", json!({"name": "OPENAI_API_KEY"})).await.unwrap();
    assert_eq!(key, json!({"value": "sk", "secret": true}));
    let other = call("variable.get", json!({"name": "GROQ_API_KEY"})).await;
    assert_eq!(other.unwrap_err(), "refused");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_attempt_takes_up_nothing_twice() {
    let mut cluster = Cluster::new().await;
    cluster.beat(vec![]).await;
    start(&cluster).await;
    let lost = cluster.take().await;
    let base = asked(&cluster, &lost, "knowledge.get", json!({"name": "laws"})).await.unwrap();
    let add = |text: &str| json!({"id": base["id"], "nth": 0, "chunks": [{"content": text}]});
    asked(&cluster, &lost, "knowledge.add", add("half")).await.unwrap();
    assert_eq!(cluster.ask(WorkerRequestBody::Goodbye).await, SchedulerReply::Accepted);
    cluster.worker = WorkerEpoch(Uuid::new_v4());
    cluster.beat(vec![]).await;
    let further = cluster.take().await;
    assert_eq!(found(&cluster, &further, &base["id"]).await, json!([]));
    asked(&cluster, &further, "knowledge.add", add("whole")).await.unwrap();
    assert_eq!(found(&cluster, &further, &base["id"]).await, json!([[{"content": "whole"}]]));
    cluster.end().await;
}
