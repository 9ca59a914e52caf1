//! Tasks with a pool or a retry policy of their own.

use std::time::Duration;

use bus::wire::decode;
use bus::{Consumer, Queue};
use domain::failure::{Failure, FailureKind};
use domain::id::{RunId, WorkerEpoch};
use domain::retry::RetryPolicy;
use domain::run::{RunState, TaskState};
use domain::terms::TaskTerms;
use proto::message::{
    ReportOutcome, SchedulerReply, TaskOffered, VERSION, WorkerRequest, WorkerRequestBody,
};
use uuid::Uuid;

use super::{Cluster, HOUR, PATIENCE, run_of};

async fn next(offers: &mut Consumer) -> TaskOffered {
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        let fetched = offers.fetch(1, Duration::from_millis(200)).await.unwrap();
        if let Some(offer) = fetched.into_iter().next() {
            let offered = decode("test", &offer.body).unwrap();
            offer.ack().await.unwrap();
            return offered;
        }
    }
    panic!("nothing was offered");
}

impl Cluster {
    /// A chain of two, on these terms.
    async fn submit_on(&self, terms: [TaskTerms; 2]) -> RunId {
        let data =
            testkit::flows::graph(&[("ChatInput-a", &[]), ("ChatOutput-b", &["ChatInput-a"])]);
        let mut new = run_of(&self.tenant, &data, &self.needs, HOUR).await;
        for (task, terms) in new.tasks.iter_mut().zip(terms) {
            task.terms = terms;
        }
        self.tenant.submit(new).await.unwrap().run
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_to_the_pool_of_its_node() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let beat = WorkerRequestBody::Heartbeat {
        name: "gpu".into(),
        slots: 1,
        attempts: Vec::new(),
        pool: Some("gpu".into()),
    };
    let worker = WorkerEpoch(Uuid::new_v4());
    let request = WorkerRequest { v: VERSION, worker, body: beat };
    let request = bus::wire::encode("test", &request).unwrap();
    cluster.bus.request(bus::Service::Scheduler, request, PATIENCE).await.unwrap();
    let pool = "gpu".to_owned();
    let mut gpu =
        cluster.bus.consumer(&Queue::Tasks { pool: pool.clone(), depth: 0 }).await.unwrap();
    let terms = TaskTerms { pool: Some(pool), retry: None };
    let run = cluster.submit_on([TaskTerms::default(), terms]).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let offered = next(&mut gpu).await;
    assert_eq!((offered.run, offered.task), (run, 1));
    let SchedulerReply::Assigned { assignment } = cluster.claim_task(run, 1).await else {
        panic!("the task was not to be had");
    };
    cluster.done(&assignment).await;
    cluster.log(run).await;
    assert_eq!(cluster.state(run).await, RunState::Completed);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_retried_as_its_node_says() {
    let mut cluster = Cluster::new().await;
    cluster.beat(Vec::new()).await;
    let patient = RetryPolicy { attempts_max: 2, component_errors: true, ..RetryPolicy::default() };
    let terms = TaskTerms { retry: Some(patient), pool: None };
    let run = cluster.submit_on([TaskTerms::default(), terms]).await;
    let first = cluster.take().await;
    cluster.done(&first).await;
    let failure = Failure::new(FailureKind::Component { exception: "ValueError".into() }, "m");
    for attempt in [1, 2] {
        let second = cluster.take().await;
        assert_eq!((second.attempt.task, second.attempt.attempt), (1, attempt));
        let failed = ReportOutcome::Failed { failure: failure.clone() };
        assert_eq!(cluster.report(second.attempt, failed).await, SchedulerReply::Accepted);
    }
    cluster.log(run).await;
    let view = cluster.tenant.run(run).await.unwrap();
    assert_eq!(view.header.state, RunState::Failed);
    assert_eq!((view.tasks[1].state, view.tasks[1].attempt), (TaskState::Failed, 2));
    cluster.end().await;
}
