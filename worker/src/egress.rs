//! The only way out of a cell: a proxy of its own on its own Unix socket.
//!
//! A container has no network interface, so identity is the socket, not something it could forge.
//! Everything is refused that no rule names; names are resolved here and nowhere else, and the
//! address that was checked is the one that is dialled, for every request anew (redirects are
//! followed by the client, which asks again).
//!
//! ```text
//! component ── HTTP client ── 127.0.0.1 (runner) ── egress.sock ──▶ Proxy ── rule? ── resolve ── address? ──▶ dial
//! ```

pub mod address;
mod dial;
mod http;
mod meter;
pub(crate) mod rules;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use domain::id::RunId;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proto::message::EgressRule;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use address::{Class, Network, NetworkError, classify};
pub use dial::{Resolve, SystemResolver};
pub use rules::Refusal;

use crate::config::EgressConfig;
use meter::Budget;

/// Connections that are remembered of one attempt; more are only counted.
const LEDGER_ENTRIES_MAX: usize = 1_000;

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
    /// Limits and closed networks.
    pub settings: EgressConfig,
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

/// One connection that a cell asked for. Never a path, a header or a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The host it asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Why it was refused or failed; `None` when it was made.
    pub refused: Option<String>,
}

/// The connections of one attempt.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Vec<Connection>>,
}

impl Ledger {
    /// What was asked for so far, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<Connection> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, entry: Connection) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() < LEDGER_ENTRIES_MAX {
            entries.push(entry);
        }
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
            budget: Arc::new(Budget::new(policy.settings.bytes_max)),
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
    let most = usize::try_from(shared.policy.settings.connections_max).unwrap_or(usize::MAX);
    let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    loop {
        // Over the limit, connections wait in the backlog of the listener.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = shared.clone();
        tokio::spawn(async move {
            let stop = shared.stop.clone();
            stop.run_until_cancelled(Box::pin(serve(stream, shared, permit))).await;
        });
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>, permit: tokio::sync::OwnedSemaphorePermit) {
    let permit = Arc::new(permit);
    let handle = service_fn(move |request| http::answer(request, shared.clone(), permit.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), handle)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, "connection of a cell ended");
    }
}

impl Shared {
    /// Remembers and logs one connection.
    fn record(&self, host: &str, port: u16, refused: Option<String>) {
        tracing::debug!(
            run.id = %self.policy.run,
            cell.id = %self.policy.cell,
            egress.host = %host,
            egress.port = port,
            egress.refused = refused.as_deref(),
            "egress"
        );
        self.ledger.push(Connection { host: host.into(), port, refused });
    }
}
