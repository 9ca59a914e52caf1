//! The API as a whole: what its handlers share, and serving it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use bus::Bus;
use prometheus_client::registry::Registry;
use store::{Principal, Store, Tenant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::throttle::Throttle;
use crate::config::Config;
use crate::listener::Patient;
use crate::metrics::Metrics;
use crate::pump::SLOW;
use crate::turns::Backlogs;
use crate::versions::Versions;
use crate::{edge, routes};

/// How long open connections get to end once the API is to stop. Streams end at once.
const DRAIN: Duration = Duration::from_secs(10);

/// The HTTP API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(pub(crate) App);

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) config: Config,
    pub(crate) versions: Versions,
    pub(crate) throttle: Throttle,
    pub(crate) backlogs: Backlogs,
    pub(crate) metrics: Metrics,
    /// Cancelled when the API stops: every stream ends.
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// The rows that this caller may see.
    pub(crate) fn tenant(&self, principal: &Principal) -> Tenant {
        self.store.tenant(principal.tenant)
    }
}

impl Api {
    /// The API on this store and bus.
    #[must_use]
    pub fn new(store: Store, bus: Bus, config: Config) -> Self {
        Self(App(Arc::new(Shared {
            store,
            bus,
            versions: Versions::new(config.runtimes.clone()),
            config,
            throttle: Throttle::default(),
            backlogs: Backlogs::default(),
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
        })))
    }

    /// Every route: method and path template.
    #[must_use]
    pub fn routes() -> Vec<(Method, &'static str)> {
        routes::table().into_iter().map(|route| (route.method, route.path)).collect()
    }

    /// Adds its figures to those of the process.
    pub fn expose(&self, registry: &mut Registry) {
        self.0.metrics.expose(registry);
    }

    /// The routes with everything around them.
    pub fn router(&self) -> Router {
        edge::around(routes::router(&self.0.config), &self.0)
    }

    /// Serves until `stop`: then no new connection is taken, streams end, and requests under way
    /// get a moment to finish.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let router = self.router();
        let ending = self.0.stop.clone();
        let graceful = {
            let (stop, ending) = (stop.clone(), ending.clone());
            async move {
                stop.cancelled().await;
                ending.cancel();
            }
        };
        let listener = Patient { listener, patience: SLOW };
        let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
        tokio::select! {
            served = std::future::IntoFuture::into_future(serving) => served,
            () = async { ending.cancelled().await; tokio::time::sleep(DRAIN).await } => {
                tracing::warn!("requests were still under way when the api stopped");
                Ok(())
            }
        }
    }
}
