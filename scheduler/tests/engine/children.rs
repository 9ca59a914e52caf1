//! Runs that a component of another run starts.

use std::time::Duration;

use bus::Queue;
use domain::admission::TenantSettings;
use domain::failure::{Failure, FailureKind};
use domain::id::RunId;
use domain::retry::RetryPolicy;
use domain::run::RunState;
use domain::runtime::Needs;
use proto::frame::ReplyError;
use proto::message::{Assignment, AttemptRef, ReportOutcome, SchedulerReply, WorkerRequestBody};
use serde_json::{Value, json};
use store::{NewFlow, NewRun, Page, Parent, RunFilter, now};

use super::{Cluster, HOUR, PATIENCE, new_flow, run_of};

/// A flow of one answer, ready to be run by name.
async fn below(cluster: &Cluster, name: &str) {
    let data = testkit::flows::graph(&[("ChatOutput-z", &[])]);
    let new = NewFlow { name: name.to_owned(), data, ..new_flow() };
    cluster.tenant.create_flow(new).await.unwrap();
}

/// A run of a flow with one node, whose attempt the test holds.
async fn parent(cluster: &mut Cluster) -> (RunId, Assignment) {
    let data = testkit::flows::graph(&[("Above-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    let taken = cluster.take().await;
    assert_eq!(taken.attempt.run, run);
    (run, taken)
}

async fn call(
    cluster: &Cluster,
    attempt: AttemptRef,
    op: &str,
    args: Value,
) -> Result<Value, ReplyError> {
    let request = WorkerRequestBody::Call { attempt, op: op.to_owned(), args, nth: None };
    match cluster.ask(request).await {
        SchedulerReply::Call { ok: Some(ok), error: None } => Ok(ok),
        SchedulerReply::Call { ok: None, error: Some(error) } => Err(error),
        other => panic!("{other:?}"),
    }
}

fn child_of(answer: &Value) -> RunId {
    answer["run"].as_str().unwrap().parse().unwrap()
}

async fn ends(cluster: &Cluster, run: RunId, expected: RunState) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until && cluster.state(run).await != expected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cluster.state(run).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_runs_as_a_run_of_its_own_and_its_outputs_come_back() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (run, above) = parent(&mut cluster).await;
    let asked = json!({
        "name": "below", "session_id": "s9", "input_value": "hi", "output_type": "any",
        "overrides": {"ChatOutput-z": {"sender": "Somebody"}},
    });
    let child = child_of(&call(&cluster, above.attempt, "flow.run", asked).await.unwrap());
    let record = cluster.store.engine().load(child).await.unwrap().unwrap();
    let first = cluster.store.engine().load(run).await.unwrap().unwrap();
    assert_eq!((record.depth, record.run.deadline), (1, first.run.deadline));
    assert_eq!((record.user, &record.limits), (first.user, &first.limits));
    assert_eq!(record.isolation, first.isolation);
    let header = cluster.tenant.run_header(child).await.unwrap();
    assert_eq!(header.parent, Some((run, 0)));
    let children = RunFilter { parent: Some(run), ..RunFilter::default() };
    assert_eq!(cluster.tenant.runs(&children, Page::all()).await.unwrap().items[0].id, child);

    let queue = Queue::Tasks { pool: "default".into(), depth: 1 };
    cluster.offers = cluster.bus.consumer(&queue).await.unwrap();
    let task = cluster.take().await;
    assert_eq!(task.attempt.run, child);
    assert!(task.task.child);
    assert_eq!(json!(task.task.overrides), json!({"ChatOutput-z": {"sender": "Somebody"}}));
    assert_eq!(task.task.session_id, "s9");
    let open = call(&cluster, above.attempt, "flow.wait", json!({"run": child})).await.unwrap();
    assert_eq!(open["state"], "running");
    cluster.done_with(&task, json!({"results": {"message": 1}})).await;
    let end = call(&cluster, above.attempt, "flow.wait", json!({"run": child})).await.unwrap();
    let given = json!([{"node": "ChatOutput-z", "result": {"results": {"message": 1}},
        "outputs": {"message": "made by ChatOutput-z"}}]);
    assert_eq!(end, json!({"state": "completed", "outputs": given}));
    cluster.done(&above).await;
    ends(&cluster, run, RunState::Completed).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_one_run_whoever_repeats_it() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (run, above) = parent(&mut cluster).await;
    let asked = |more: Value| {
        let mut asked = json!({"name": "below", "input_value": "hi"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let start = async |cluster: &Cluster, attempt, more| {
        child_of(&call(cluster, attempt, "flow.run", asked(more)).await.unwrap())
    };
    let first = start(&cluster, above.attempt, json!({})).await;
    assert_eq!(start(&cluster, above.attempt, json!({})).await, first, "a repeated question");
    let second = start(&cluster, above.attempt, json!({"repeated": 1})).await;
    let other = start(&cluster, above.attempt, json!({"input_value": "ho"})).await;
    assert!(first != second && first != other && second != other);

    // The worker is lost; the next attempt finds what still counts, and only that.
    let failure = Failure::new(FailureKind::WorkerLost, "gone");
    cluster.report(above.attempt, ReportOutcome::Failed { failure }).await;
    let retried = cluster.take().await;
    assert_eq!((retried.attempt.run, retried.attempt.attempt), (run, 2));
    assert_eq!(start(&cluster, retried.attempt, json!({})).await, first);
    cluster.order(second, true).await;
    ends(&cluster, second, RunState::Cancelled).await;
    let again = start(&cluster, retried.attempt, json!({"repeated": 1})).await;
    assert_ne!(again, second, "what did not succeed is tried again by another attempt");
    assert_eq!(start(&cluster, retried.attempt, json!({"repeated": 1})).await, again);
    let stale = WorkerRequestBody::Call {
        attempt: above.attempt,
        op: "flow.run".to_owned(),
        args: asked(json!({})),
        nth: None,
    };
    assert!(matches!(cluster.ask(stale).await, SchedulerReply::Refused { .. }));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_flow_below_is_known_to_be_another_flows() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (_, above) = parent(&mut cluster).await;
    let asked = json!({"name": "below"});
    call(&cluster, above.attempt, "flow.run", asked).await.unwrap();
    let queue = Queue::Tasks { pool: "default".into(), depth: 1 };
    cluster.offers = cluster.bus.consumer(&queue).await.unwrap();
    let task = cluster.take().await;
    let said = json!({"message": {"sender": "Machine", "sender_name": "AI", "text": "hi"}});
    let stored = call(&cluster, task.attempt, "message.store", said).await.unwrap();
    let change = |id: &Value| json!({"message": {"id": id, "text": "ho"}});
    let update = async |attempt, id: &Value| {
        call(&cluster, attempt, "message.update", change(id)).await.map_err(|error| error.kind)
    };
    assert_eq!(update(above.attempt, &stored["id"]).await, Err("other_flow".to_owned()));
    assert!(update(task.attempt, &stored["id"]).await.is_ok());
    let nobody = json!("00000000-0000-4000-8000-000000000000");
    assert_eq!(update(above.attempt, &nobody).await, Err("not_found".to_owned()));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_their_parent() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (run, above) = parent(&mut cluster).await;
    let asked = json!({"name": "below"});
    let child = child_of(&call(&cluster, above.attempt, "flow.run", asked.clone()).await.unwrap());
    cluster.order(run, true).await;
    ends(&cluster, run, RunState::Cancelled).await;
    ends(&cluster, child, RunState::Cancelled).await;

    // A parent that ends without waiting leaves nothing behind either.
    let (run, above) = parent(&mut cluster).await;
    let child = child_of(&call(&cluster, above.attempt, "flow.run", asked).await.unwrap());
    cluster.done(&above).await;
    ends(&cluster, run, RunState::Completed).await;
    ends(&cluster, child, RunState::Cancelled).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_run_flows_to_a_depth_and_no_deeper() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (_, mut above) = parent(&mut cluster).await;
    for depth in 1..=8u32 {
        let asked = json!({"name": "below", "repeated": 0});
        let child = child_of(&call(&cluster, above.attempt, "flow.run", asked).await.unwrap());
        let queue = Queue::Tasks { pool: "default".into(), depth };
        cluster.offers = cluster.bus.consumer(&queue).await.unwrap();
        above = cluster.take().await;
        assert_eq!(above.attempt.run, child);
    }
    let refused = call(&cluster, above.attempt, "flow.run", json!({"name": "below"})).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, "limit");
    assert!(refused.message.contains("`flow_depth_max`"), "{refused:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_reaches_its_tenants_flows_and_its_own_children_only() {
    let mut cluster = Cluster::new().await;
    below(&cluster, "below").await;
    let (_, above) = parent(&mut cluster).await;
    let (other, _) = parent(&mut cluster).await;
    let kind = async |op: &str, args: Value| {
        call(&cluster, above.attempt, op, args).await.map_err(|error| error.kind)
    };
    let not_found = Err("not_found".to_owned());
    assert_eq!(kind("flow.wait", json!({"run": other})).await, not_found);
    assert_eq!(kind("flow.run", json!({"name": "no such flow"})).await, not_found);
    let foreign = cluster.store.create_tenant("foreign").await.unwrap();
    let new = NewFlow { name: "theirs".to_owned(), ..new_flow() };
    let theirs = cluster.store.tenant(foreign).create_flow(new).await.unwrap().header.id;
    assert_eq!(kind("flow.get", json!({"name": "theirs"})).await, not_found);
    assert_eq!(kind("flow.run", json!({"id": theirs})).await, not_found);
    let code = json!({"name": "below", "overrides": {"ChatOutput-z": {"code": "import os"}}});
    assert_eq!(kind("flow.run", code).await, Err("refused".to_owned()));
    let code = json!({"name": "below", "tweaks": {"ChatOutput-z": {"code": "import os"}}});
    assert_eq!(kind("flow.run", code).await, Err("refused".to_owned()));
    let listed = kind("flow.list", json!({})).await.unwrap();
    let names: Vec<&Value> =
        listed["flows"].as_array().unwrap().iter().map(|flow| &flow["name"]).collect();
    assert!(names.contains(&&json!("below")) && !names.contains(&&json!("theirs")), "{names:?}");
    let told = kind("flow.get", json!({"name": "below"})).await.unwrap();
    assert_eq!(told["data"]["nodes"][0]["id"], "ChatOutput-z");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_message_was_lost_is_started_whatever_limits_there_are() {
    let mut cluster = Cluster::new().await;
    let set = TenantSettings { runs_max: Some(1), ..TenantSettings::default() };
    cluster.tenant.set_admission(&set).await.unwrap();
    // Rounds read the settings once a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (run, above) = parent(&mut cluster).await;
    let task = above.attempt.task;
    let asked = Parent { run, task, attempt: above.attempt.attempt, repeated: 0, depth: 1 };
    let data = testkit::flows::graph(&[("ChatOutput-z", &[])]);
    let new = run_of(&cluster.tenant, &data, &Needs::default(), HOUR).await;
    let child = NewRun { parent: Some(asked), ..new };
    let child = cluster.tenant.submit(child).await.unwrap().run;
    let engine = cluster.store.engine();
    let lost = engine.unpublished(10, now() + HOUR).await.unwrap();
    let ids: Vec<_> = lost.iter().map(|message| message.id).collect();
    engine.mark_published(&ids, now()).await.unwrap();
    ends(&cluster, child, RunState::Running).await;
    cluster.end().await;
}
