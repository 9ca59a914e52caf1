//! Looks now and then at what waits in the whole cluster, so that a scrape asks nobody.

use std::sync::Arc;
use std::time::Duration;

use domain::time::Timestamp;
use store::now;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::metrics::Look;

/// The part that collects the figures that need a query.
pub(crate) struct Figures {
    engine: Arc<Engine>,
    every: Duration,
    /// Event logs of runs that ended longer ago than this should be archived.
    archive_after: Duration,
}

impl Figures {
    pub(crate) fn new(engine: Arc<Engine>, every: Duration, archive_after: Duration) -> Self {
        Self { engine, every, archive_after }
    }

    /// Collects until `stop`. A look that fails leaves the figures of the one before; their age
    /// is a figure too.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut looks = interval(self.every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let now = now();
            match self.look(now).await {
                Ok(look) => self.engine.metrics.saw(&look, &self.engine.pool, now),
                Err(error) => tracing::warn!(error = %error, "figures cannot be collected"),
            }
        }
    }

    async fn look(&self, now: Timestamp) -> Result<Look, store::Error> {
        let store = self.engine.store.engine();
        Ok(Look {
            waiting: store.waiting(now, now - self.archive_after).await?,
            settings: store.admission_settings().await?,
            shares: store.shares().await?,
        })
    }
}
