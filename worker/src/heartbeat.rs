//! Tells the schedulers that this worker lives, from a thread, a runtime and a connection of its
//! own, so that a busy worker is not taken for a dead one. One that gets nothing done any more is
//! dead, though: then the beats end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::limits::{HEARTBEAT, LEASE};
use proto::message::{SchedulerReply, WorkerRequestBody};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::attempt::Workshop;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// How often the runtime that runs the attempts shows that it does.
const PULSE_EVERY: Duration = Duration::from_secs(1);

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
    /// Without a pulse for this long the worker is stuck: its attempts are better run elsewhere.
    pub(crate) stuck: Duration,
}

/// When the runtime that runs the attempts last got to something.
#[derive(Clone, Debug)]
struct Pulse {
    began: Instant,
    felt_ms: Arc<AtomicU64>,
}

impl Pulse {
    fn new() -> Self {
        Self { began: Instant::now(), felt_ms: Arc::default() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn beat(self) {
        let mut ticks = interval(PULSE_EVERY);
        loop {
            ticks.tick().await;
            self.felt_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    fn silent(&self) -> Duration {
        let felt_ms = self.felt_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.now_ms().saturating_sub(felt_ms))
    }
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
            stuck: LEASE * 4,
        }
    }

    /// Starts the thread, and the pulse in the current runtime. Both end when `stop` is cancelled.
    pub(crate) fn start(self, stop: CancellationToken) -> io::Result<()> {
        let pulse = Pulse::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(pulse.clone().beat()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("flowcell-heartbeat".into()).spawn(move || {
            runtime.block_on(stop.run_until_cancelled(self.run(pulse)));
        })?;
        Ok(())
    }

    async fn run(mut self, pulse: Pulse) {
        // The other runtime drives the connection that all else goes over.
        match timeout(self.lease / 2, self.upstream.apart()).await {
            Ok(Ok(own)) => self.upstream = own,
            Ok(Err(error)) => tracing::warn!(%error, "heartbeats have no connection of their own"),
            Err(_) => tracing::warn!("heartbeats have no connection of their own: no answer"),
        }
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let silent = pulse.silent();
            if silent < self.stuck {
                self.beat().await;
            } else {
                tracing::error!(
                    silent_ms = silent.as_millis(),
                    "this worker gets nothing done: no heartbeat"
                );
            }
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

#[cfg(test)]
mod tests {
    use bus::wire::encode;
    use bus::{Bus, Service};
    use domain::id::WorkerEpoch;
    use testkit::nats::Server;
    use tokio::sync::watch;
    use uuid::Uuid;

    use super::*;

    const SURELY: Duration = Duration::from_secs(20);

    async fn connected(server: &Server) -> Bus {
        bus::nats(bus::nats::Settings::new(server.url())).await.unwrap()
    }

    fn heartbeat(bus: Bus, stuck: Duration) -> Heartbeat {
        Heartbeat {
            upstream: Upstream::new(bus, WorkerEpoch(Uuid::new_v4())),
            held: Held::new(),
            name: "w".into(),
            slots: 1,
            pool: "default".into(),
            metrics: Metrics::default(),
            every: Duration::from_millis(100),
            lease: LEASE,
            stuck,
        }
    }

    /// A scheduler that counts beats.
    async fn scheduler(bus: Bus) -> watch::Receiver<u32> {
        let mut requests = bus.serve(Service::Scheduler, 4).await.unwrap();
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let reply = encode("test", &SchedulerReply::Beat { stop: Vec::new() }).unwrap();
                request.respond(reply).await.unwrap();
                count.send_modify(|count| *count += 1);
            }
        });
        counted
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_busy_runtime_holds_up_no_beat_and_a_stuck_one_ends_them() {
        let server = Server::start().await.unwrap();
        let mut beats = scheduler(connected(&server).await).await;
        let url = server.url();
        let stop = CancellationToken::new();
        let starting = stop.clone();
        let began = Instant::now();
        // The worker's runtime connects, starts the beats, and then never runs anything again.
        let busy = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                let bus = bus::nats(bus::nats::Settings::new(url)).await.unwrap();
                heartbeat(bus, Duration::from_secs(3)).start(starting).unwrap();
            });
            runtime
        });
        let runtime = busy.await.unwrap();
        tokio::time::timeout(SURELY, beats.wait_for(|count| *count >= 10)).await.unwrap().unwrap();
        assert!(began.elapsed() < SURELY);
        // None for a whole second: they have ended.
        let over = async {
            while tokio::time::timeout(Duration::from_secs(1), beats.changed()).await.is_ok() {}
        };
        tokio::time::timeout(SURELY, over).await.unwrap();
        stop.cancel();
        runtime.shutdown_background();
    }
}
