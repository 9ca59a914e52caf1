//! Tasks whose flow lists packages of its own: they wait until a worker has the image.

use domain::failure::FailureKind;
use domain::id::RunId;
use domain::retry::RetryPolicy;
use domain::run::RunState;
use domain::runtime::{Build, BuildState, Minor, Needs, Requirements};
use proto::event::RunEventKind;
use proto::message::{RuntimeOrder, RuntimeProgress, SchedulerReply, WorkerRequestBody};

use crate::{Cluster, HOUR};

/// A cluster whose flows list `humanize`, and one run.
async fn listing(build: Build) -> (Cluster, RunId) {
    let mut cluster = Cluster::with(|config| {
        config.runtimes.build = build;
        config.runtimes.images.insert(Minor::new(1, 12), "runner:old".to_owned());
    })
    .await;
    cluster.needs = Needs {
        langflow: Some(Minor::new(1, 12)),
        requirements: Requirements::read(["humanize>=4"]).unwrap(),
    };
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let run = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    (cluster, run)
}

impl Cluster {
    /// Claims the first task as soon as it may be claimed.
    async fn claim(&self, run: RunId, ready: &[&str]) -> SchedulerReply {
        loop {
            let runtimes = ready.iter().map(ToString::to_string).collect();
            let reply = self.ask(WorkerRequestBody::Claim { run, task: 0, runtimes }).await;
            match self.state(run).await {
                RunState::Queued => tokio::task::yield_now().await,
                _ => return reply,
            }
        }
    }

    async fn ordered(&self, run: RunId) -> RuntimeOrder {
        match self.claim(run, &[]).await {
            SchedulerReply::Prepare { runtime } => *runtime,
            // The run left the queue between the claim and the look at it.
            _ => match self.claim(run, &[]).await {
                SchedulerReply::Prepare { runtime } => *runtime,
                other => panic!("{other:?}"),
            },
        }
    }

    async fn tell(&self, order: &RuntimeOrder, progress: RuntimeProgress) -> SchedulerReply {
        let (tenant, image) = (order.tenant, order.image.clone());
        self.ask(WorkerRequestBody::Runtime { tenant, image, progress }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_its_image_and_then_runs_in_it() {
    let (cluster, run) = listing(Build::Listed).await;
    let order = cluster.ordered(run).await;
    assert_eq!((order.base.as_str(), &order.lock), ("runner:old", &None));
    assert_eq!(order.requirements.lines(), ["humanize>=4"]);
    let build = cluster.tenant.runtime_build(&order.image).await.unwrap().unwrap();
    assert_eq!(build.state, BuildState::Queued);

    let lock = |lock: &str| RuntimeProgress::Locked { lock: lock.to_owned() };
    let first = SchedulerReply::Lock { lock: "humanize==4.1".to_owned() };
    assert_eq!(cluster.tell(&order, lock("humanize==4.1")).await, first);
    assert_eq!(cluster.tell(&order, lock("humanize==4.2")).await, first, "the first one counts");
    let again = cluster.ordered(run).await;
    assert_eq!(again.lock.as_deref(), Some("humanize==4.1"));
    assert_eq!(cluster.tell(&order, RuntimeProgress::Ready).await, SchedulerReply::Accepted);
    assert_eq!(cluster.state(run).await, RunState::Running, "a run that waits does not fail");

    // Ready on another worker only.
    assert!(matches!(
        cluster.claim(run, &["flowcell/runtime:other"]).await,
        SchedulerReply::Prepare { .. }
    ));
    let SchedulerReply::Assigned { assignment } = cluster.claim(run, &[&order.image]).await else {
        panic!("the image is there");
    };
    assert_eq!(assignment.image, order.image);
    cluster.done(&assignment).await;
    assert_eq!(cluster.state(run).await, RunState::Completed);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_built_fails_the_run_with_the_reason() {
    let (cluster, run) = listing(Build::Listed).await;
    let order = cluster.ordered(run).await;
    let reason = "no humanize".to_owned();
    cluster.tell(&order, RuntimeProgress::Failed { reason }).await;
    assert!(matches!(cluster.claim(run, &[]).await, SchedulerReply::Refused { .. }));
    assert_eq!(
        failure(&cluster, run).await,
        "the flow's packages cannot be installed: no humanize"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_built_such_a_run_fails_at_once() {
    let (cluster, run) = listing(Build::Off).await;
    cluster.claim(run, &[]).await;
    cluster.claim(run, &[]).await;
    let message = failure(&cluster, run).await;
    assert!(message.contains("`runtimes.build` is off"), "{message}");
    cluster.end().await;
}

/// Why the run failed.
async fn failure(cluster: &Cluster, run: RunId) -> String {
    let log = cluster.log(run).await;
    let Some(RunEventKind::RunFailed { failure }) = log.last() else { panic!("{log:?}") };
    assert_eq!(failure.kind, FailureKind::RuntimeNotBuilt);
    failure.message.clone()
}
