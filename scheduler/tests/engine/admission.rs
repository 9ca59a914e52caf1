//! Which of the runs that wait go on first, and how many.

use std::time::Duration;

use bus::Queue;
use bus::wire::decode;
use domain::admission::{FlowSettings, TenantSettings};
use domain::id::RunId;
use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use domain::runtime::Needs;
use proto::message::{RunSubmitted, SchedulerReply, TaskOffered, VERSION};
use store::{Concurrency, NewRun, Store, Tenant, Turn, now};

use super::{Cluster, HOUR, run_of};

/// A run of one cell.
async fn one_cell(tenant: &Tenant) -> NewRun {
    run_of(tenant, &testkit::flows::graph(&[("ChatInput-a", &[])]), &Needs::default(), HOUR).await
}

impl Cluster {
    /// Accepts a run of one cell for a tenant.
    async fn queue(&self, tenant: &Tenant, turn: Turn) -> RunId {
        let new = one_cell(tenant).await;
        tenant.submit(NewRun { turn, ..new }).await.unwrap().run
    }

    /// Runs the first cell of a run whose offer was read.
    async fn carry_out(&self, run: RunId) {
        let SchedulerReply::Assigned { assignment } = self.claim_task(run, 0).await else {
            panic!("the task was not to be had");
        };
        self.done(&assignment).await;
    }

    /// All offers until none comes any more, without taking them.
    async fn offered(&mut self) -> Vec<RunId> {
        let mut runs = Vec::new();
        let mut quiet = 0;
        while quiet < 3 {
            let offers = self.offers.fetch(50, Duration::from_millis(200)).await.unwrap();
            quiet = if offers.is_empty() { quiet + 1 } else { 0 };
            for offer in offers {
                let asked: TaskOffered = decode("test", &offer.body).unwrap();
                offer.ack().await.unwrap();
                runs.push(asked.run);
            }
        }
        runs
    }
}

async fn another_tenant(store: &Store, name: &str) -> Tenant {
    store.tenant(store.create_tenant(name).await.unwrap())
}

#[tokio::test]
async fn a_crowd_does_not_keep_another_tenant_waiting() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let tenant = cluster.tenant.clone();
    for _ in 0..30 {
        cluster.queue(&tenant, Turn::default()).await;
    }
    let first = cluster.offered().await;
    assert_eq!(first.len(), 5, "four slots, and one more on the queue");

    let other = another_tenant(&cluster.store, "other").await;
    let late = cluster.queue(&other, Turn::default()).await;
    assert_eq!(cluster.offered().await, [], "every slot is taken");
    cluster.carry_out(first[0]).await;
    assert_eq!(cluster.offered().await, [late], "the next free slot is the newcomer's");
    cluster.end().await;
}

#[tokio::test]
async fn a_run_of_which_a_message_tells_while_every_slot_is_taken_gets_the_next_one() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let tenant = cluster.tenant.clone();
    for _ in 0..5 {
        cluster.queue(&tenant, Turn::default()).await;
    }
    let first = cluster.offered().await;
    assert_eq!(first.len(), 5, "four slots, and one more on the queue");
    let late = cluster.queue(&tenant, Turn::default()).await;
    let told = RunSubmitted { v: VERSION, run: late, queued: true };
    let body = serde_json::to_vec(&told).unwrap().into();
    cluster.bus.enqueue(&Queue::Runs, &format!("run:{late}"), body).await.unwrap();
    assert_eq!(cluster.offered().await, [], "every slot is taken");
    assert_eq!(cluster.state(late).await, RunState::Queued);
    cluster.carry_out(first[0]).await;
    assert_eq!(cluster.offered().await, [late]);
    cluster.end().await;
}

#[tokio::test]
async fn limits_hold_runs_back_and_let_others_pass() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let tenant = cluster.tenant.clone();
    let keyed = || Turn {
        concurrency: Some(Concurrency { key: "customer".into(), most: 1 }),
        ..Turn::default()
    };
    let (first, second) =
        (cluster.queue(&tenant, keyed()).await, cluster.queue(&tenant, keyed()).await);
    let free = cluster.queue(&tenant, Turn::default()).await;
    let mut offered = cluster.offered().await;
    offered.sort();
    assert_eq!(offered, [first, free]);
    assert_eq!(cluster.state(second).await, RunState::Queued);
    cluster.carry_out(first).await;
    assert_eq!(cluster.offered().await, [second]);
    cluster.end().await;
}

#[tokio::test]
async fn what_is_set_for_a_tenant_and_a_flow_holds() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let tenant = cluster.tenant.clone();
    let set = TenantSettings { runs_max: Some(2), ..TenantSettings::default() };
    tenant.set_admission(&set).await.unwrap();
    // Rounds read the settings once a second; runs that come before are not held to new ones.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for _ in 0..4 {
        cluster.queue(&tenant, Turn::default()).await;
    }
    assert_eq!(cluster.offered().await.len(), 2);

    let other = another_tenant(&cluster.store, "other").await;
    let new = one_cell(&other).await;
    let set = FlowSettings { runs_max: Some(1), ..FlowSettings::default() };
    other.set_flow_admission(new.flow, &set).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let again = NewRun { id: RunId(uuid::Uuid::now_v7()), ..new.clone() };
    let first = other.submit(new).await.unwrap().run;
    other.submit(again).await.unwrap();
    assert_eq!(cluster.offered().await, [first]);
    cluster.end().await;
}

#[tokio::test]
async fn urgent_runs_go_first_and_delayed_ones_when_their_time_has_come() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let tenant = cluster.tenant.clone();
    let set = TenantSettings { runs_max: Some(1), ..TenantSettings::default() };
    tenant.set_admission(&set).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let running = cluster.queue(&tenant, Turn::default()).await;
    assert_eq!(cluster.offered().await, [running]);
    let plain = cluster.queue(&tenant, Turn::default()).await;
    let urgent = cluster.queue(&tenant, Turn { priority: 3, ..Turn::default() }).await;
    let not_before = Some(now() + Duration::from_secs(2));
    let delayed = cluster.queue(&tenant, Turn { not_before, priority: 9, ..Turn::default() }).await;
    cluster.carry_out(running).await;
    assert_eq!(cluster.offered().await, [urgent]);
    while cluster.store.engine().load(delayed).await.unwrap().unwrap().not_before.is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for next in [urgent, delayed] {
        cluster.carry_out(next).await;
        let then = if next == urgent { delayed } else { plain };
        assert_eq!(cluster.offered().await, [then]);
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_wide_run_takes_its_share_and_no_more() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let names: Vec<String> = (0..12).map(|n| format!("Prompt-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut nodes: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, &[][..])).collect();
    nodes.push(("ChatOutput-z", &names));
    let wide = cluster.submit(testkit::flows::graph(&nodes), RetryPolicy::default(), HOUR).await;
    assert_eq!(cluster.offered().await, [wide; 5], "of twelve tasks that are ready");
    let record = cluster.store.engine().load(wide).await.unwrap().unwrap();
    let ready = record.run.tasks.iter().filter(|task| task.state == TaskState::Ready);
    let offered = ready.clone().filter(|task| task.dispatched.is_some()).count();
    assert_eq!((ready.count(), offered), (12, 5));
    // An offer of an earlier attempt may come late or twice: it passes nobody who waits.
    let mut waiting = record.run.tasks.iter().filter(|task| task.dispatched.is_none());
    let reply = cluster.claim_task(wide, waiting.next().unwrap().index).await;
    assert!(matches!(reply, SchedulerReply::Refused { .. }), "{reply:?}");
    cluster.end().await;
}
