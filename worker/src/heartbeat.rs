//! Tells the schedulers that this worker lives, from a thread and runtime of its own, so that a
//! busy worker is not taken for a dead one.

use std::io;
use std::time::{Duration, Instant};

use domain::limits::{HEARTBEAT, LEASE};
use proto::message::{SchedulerReply, WorkerRequestBody};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::attempt::Workshop;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// What a heartbeat says, and where its answer goes.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) upstream: Upstream,
    pub(crate) held: Held,
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) pool: String,
    pub(crate) metrics: Metrics,
    pub(crate) every: Duration,
    pub(crate) lease: Duration,
}

impl Heartbeat {
    pub(crate) fn new(shop: &Workshop, held: Held) -> Self {
        Self {
            upstream: shop.upstream.clone(),
            held,
            name: shop.config.name.clone(),
            slots: shop.config.slots,
            pool: shop.config.queue.clone(),
            metrics: shop.metrics.clone(),
            every: HEARTBEAT,
            lease: LEASE,
        }
    }

    /// Starts the thread. It ends when `stop` is cancelled.
    pub(crate) fn start(self, stop: CancellationToken) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("flowcell-heartbeat".into()).spawn(move || {
            runtime.block_on(stop.run_until_cancelled(self.run()));
        })?;
        Ok(())
    }

    async fn run(self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.beat().await;
            let lapsed = self.held.lapse(Instant::now(), self.lease);
            if lapsed > 0 {
                tracing::error!(
                    attempts = lapsed,
                    lease_ms = self.lease.as_millis(),
                    "no heartbeat was accepted for a whole lease: ending attempts"
                );
            }
        }
    }

    async fn beat(&self) {
        let sent = Instant::now();
        let attempts = self.held.list();
        let body = WorkerRequestBody::Heartbeat {
            name: self.name.clone(),
            slots: self.slots,
            attempts: attempts.clone(),
            pool: Some(self.pool.clone()),
        };
        match self.upstream.ask(body, self.every).await {
            Ok(SchedulerReply::Beat { stop }) => {
                self.held.renew(&attempts, sent);
                for attempt in stop {
                    self.held.stop(attempt);
                }
            }
            Ok(_) => {
                self.metrics.heartbeat_failed();
                tracing::warn!("heartbeat was not accepted");
            }
            Err(error) => {
                self.metrics.heartbeat_failed();
                tracing::warn!(%error, "heartbeat was not answered");
            }
        }
    }
}
