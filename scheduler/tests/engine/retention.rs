//! Runs that are older than their tenant keeps them.

use std::time::Duration;

use domain::id::RunId;
use domain::retention::{Overrides, Settings};
use domain::retry::RetryPolicy;
use domain::run::{Command, decide};
use store::{Error, Store, Transition, now};

use crate::{Cluster, HOUR, PATIENCE};

/// Ends a run as if it were three days ago, while the scheduler works on it.
async fn cancel_long_ago(store: &Store, run: RunId) {
    let then = now() - Duration::from_secs(3 * 86_400);
    loop {
        let record = store.engine().load(run).await.unwrap().unwrap();
        let decision = decide(&record.run, &Command::Cancel, then).unwrap();
        let mut after = record.run.clone();
        decision.events.iter().for_each(|event| after.apply(event));
        let ended = Transition::new(record.version, after, decision.events, then);
        match store.engine().commit(ended).await {
            Err(Error::VersionConflict) => {}
            committed => return committed.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_removed_when_their_time_is_over_and_no_others() {
    let retention = Settings { every_ms: 20, ..Settings::default() };
    // Nothing is archived, so the logs on the bus go with the runs.
    let mut cluster = Cluster::with(|config| {
        config.retention = retention;
        config.archive_after_ms = 3_600_000;
    })
    .await;
    let data = testkit::flows::graph(&[("ChatInput-a", &[])]);
    let young = cluster.submit(data.clone(), RetryPolicy::default(), HOUR).await;
    let held = cluster.take().await;
    cluster.done(&held).await;
    let old = cluster.submit(data, RetryPolicy::default(), HOUR).await;
    cancel_long_ago(&cluster.store, old).await;
    cluster.tenant.run_header(old).await.unwrap();
    cluster.tenant.set_retention(Overrides { runs_days: Some(2), messages: None }).await.unwrap();
    let until = tokio::time::Instant::now() + PATIENCE;
    while cluster.tenant.run_header(old).await.is_ok() {
        assert!(tokio::time::Instant::now() < until, "the run was not removed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(cluster.tenant.run(old).await, Err(Error::NotFound { .. })));
    cluster.tenant.run_header(young).await.unwrap();
    cluster.end().await;
}
