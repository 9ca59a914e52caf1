//! From a host and a port to a connection: rule, resolution, check, dial; in this order, and
//! nothing leaves this host before the check.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proto::connection::ConnectionState;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ledger::Entry;
use crate::meter::{Exceeded, Metered};
use crate::rules::{self, Grant, Refusal};
use crate::{Policy, Shared};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Debug + Send + Sync {
    /// All addresses of the name.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error("{host} could not be resolved")]
    Unresolved { host: String },
    #[error("{host}:{port} could not be reached: {source}")]
    Unreachable { host: String, port: u16, source: io::Error },
    #[error("{host}:{port} did not answer within {after_ms} ms")]
    TimedOut { host: String, port: u16, after_ms: u64 },
}

impl Error {
    fn state(&self) -> ConnectionState {
        match self {
            Self::Refused(_) | Self::Exceeded(_) => ConnectionState::Refused,
            Self::Unresolved { .. } | Self::Unreachable { .. } | Self::TimedOut { .. } => {
                ConnectionState::Failed
            }
        }
    }
}

/// A connection to an allowed destination.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: Metered,
    pub(crate) grant: Grant,
}

/// Ends a line of the ledger whose question was given up by the cell.
struct Asking(Option<Arc<Entry>>);

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.end(ConnectionState::Closed, Some("the cell did not wait for it".to_owned()));
        }
    }
}

impl Shared {
    /// A connection to an allowed destination. Written to the ledger either way.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<Upstream, Error> {
        let entry = self.ledger.open(host, port);
        let mut asking = Asking(Some(entry.clone()));
        let dialled = self.dial(host, port).await;
        asking.0 = None;
        let idle_max = Duration::from_millis(self.policy.settings.idle_ms_max);
        match dialled {
            Ok((stream, grant)) => {
                let stream = Metered::new(stream, self.budget.clone(), entry, idle_max);
                Ok(Upstream { stream, grant })
            }
            Err(error) => {
                entry.end(error.state(), Some(error.to_string()));
                Err(error)
            }
        }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<(TcpStream, Grant), Error> {
        self.budget.open()?;
        let after_ms = self.policy.settings.connect_ms_max;
        let connecting = async {
            let (grant, addresses) = self.policy.checked(host, port).await?;
            Ok((dial_first(host, port, &addresses).await?, grant))
        };
        timeout(Duration::from_millis(after_ms), connecting)
            .await
            .unwrap_or_else(|_| Err(Error::TimedOut { host: host.into(), port, after_ms }))
    }
}

impl Policy {
    /// The addresses of an allowed destination, every one of them admitted. One that is not
    /// refuses the name as a whole: mixing inside and outside addresses is what rebinding does.
    async fn checked(&self, host: &str, port: u16) -> Result<(Grant, Vec<IpAddr>), Error> {
        let grant = rules::grant(&self.rules, host, port)?;
        let addresses = match host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self
                .resolver
                .resolve(host)
                .await
                .map_err(|_| Error::Unresolved { host: host.into() })?,
        };
        for address in &addresses {
            grant.admit(host, port, *address, &self.closed)?;
        }
        if addresses.is_empty() {
            return Err(Error::Unresolved { host: host.into() });
        }
        Ok((grant, addresses))
    }
}

async fn dial_first(host: &str, port: u16, addresses: &[IpAddr]) -> Result<TcpStream, Error> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => {
                // Tokens are small; a failure to set this costs only latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(Error::Unreachable { host: host.into(), port, source: last })
}
