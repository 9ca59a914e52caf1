//! The only way out of a cell: a proxy of its own on its own Unix socket.
//!
//! A container has no network interface, so identity is the socket, not something it could forge.
//! Everything is refused that no rule names; names are resolved here and nowhere else, and the
//! address that was checked is the one that is dialled, for every request anew (redirects are
//! followed by the client, which asks again).
//!
//! ```text
//! component ── HTTP client ── 127.0.0.1 (runner) ──┐
//!           └─ anything else ─ 127.1.0.N (runner) ──┴─ egress.sock ──▶ Proxy
//! Proxy: limits? ── rule? ── resolve ── address? ── dial ── TLS for this host? ──▶ bytes, counted
//! ```

pub mod address;
mod bucket;
mod closed;
mod config;
mod dial;
pub mod forward;
mod hello;
mod http;
mod ledger;
mod meter;
mod rules;
pub mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::id::RunId;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::message::EgressRule;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use address::{Class, Network, NetworkError, classify};
pub use closed::Closed;
pub use config::Config;
pub use dial::{Resolve, SystemResolver};
pub use ledger::Ledger;
pub use rules::Refusal;

use meter::{Budget, Exceeded};

/// Connections over the limit that are told so at the same time; more wait in the backlog of the
/// listener, so that a cell cannot make this process run out of files.
const TURNED_AWAY_MAX: usize = 32;
/// How long one of them may take to say what it wants.
const TURN_AWAY_MAX: Duration = Duration::from_secs(5);

/// Headers of one request, and the largest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a cell may do, and on whose behalf.
#[derive(Clone)]
pub struct Policy {
    /// The run, for the log.
    pub run: RunId,
    /// The cell, for the log.
    pub cell: String,
    /// What is allowed.
    pub rules: Vec<EgressRule>,
    /// Limits.
    pub settings: Config,
    /// What no rule opens.
    pub closed: Arc<Closed>,
    /// Names to addresses.
    pub resolver: Arc<dyn Resolve>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("run", &self.run)
            .field("cell", &self.cell)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// A running proxy; it ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    ledger: Arc<Ledger>,
    _stop: DropGuard,
}

/// What every connection of one cell shares.
struct Shared {
    policy: Policy,
    ledger: Arc<Ledger>,
    budget: Arc<Budget>,
    stop: CancellationToken,
}

impl Proxy {
    /// Serves the socket until it is dropped.
    #[must_use]
    pub fn open(listener: UnixListener, policy: Policy) -> Self {
        let stop = CancellationToken::new();
        let ledger = Arc::new(Ledger::default());
        let shared = Arc::new(Shared {
            budget: Arc::new(Budget::new(&policy.settings)),
            policy,
            ledger: ledger.clone(),
            stop: stop.clone(),
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared)));
        Self { ledger, _stop: stop.drop_guard() }
    }

    /// What the cell connected to.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let max = shared.policy.settings.connections_max;
    let most = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let refusals = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        let stop = shared.stop.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            tokio::spawn(async move {
                stop.run_until_cancelled(Box::pin(serve(stream, shared, permit))).await;
            });
            continue;
        }
        let Ok(permit) = refusals.clone().acquire_owned().await else { return };
        tokio::spawn(async move {
            let refusing = Box::pin(turn_away(stream, shared, Exceeded::Connections { max }));
            stop.run_until_cancelled(timeout(TURN_AWAY_MAX, refusing)).await;
            drop(permit);
        });
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>, permit: OwnedSemaphorePermit) {
    let permit = Arc::new(permit);
    let handle = service_fn(move |request| http::answer(request, shared.clone(), permit.clone()));
    let connection = server().serve_connection(TokioIo::new(stream), handle).with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, "connection of a cell ended");
    }
}

async fn turn_away(stream: UnixStream, shared: Arc<Shared>, exceeded: Exceeded) {
    let handle = service_fn(move |request| http::turn_away(request, shared.clone(), exceeded));
    if let Err(error) = server().serve_connection(TokioIo::new(stream), handle).await {
        tracing::trace!(%error, "connection of a cell ended");
    }
}

fn server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).max_buf_size(HEAD_BYTES_MAX).half_close(true);
    builder
}
