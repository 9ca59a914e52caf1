//! What no rule opens: the operator's networks, and the cluster's own services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Config;
use crate::address::Network;
use crate::dial::Resolve;
use crate::rules::normalise;

/// Networks and services that stay closed.
#[derive(Clone, Debug, Default)]
pub struct Closed {
    networks: Vec<Network>,
    names: Vec<(String, u16)>,
    addresses: Vec<SocketAddr>,
}

impl Closed {
    /// What these settings close. Names are resolved once, now; the name itself stays closed
    /// whatever it resolves to later.
    pub async fn of(settings: &Config, resolver: &dyn Resolve) -> Self {
        let mut closed = Self { networks: settings.deny.clone(), ..Self::default() };
        for text in &settings.deny_endpoints {
            let Some((host, port)) = endpoint(text) else { continue };
            let found = match host.parse::<IpAddr>() {
                Ok(address) => vec![address],
                Err(_) => resolver.resolve(&host).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, endpoint = %text, "only the name of it is closed");
                    Vec::new()
                }),
            };
            for address in found.into_iter().flat_map(reached_as) {
                closed.addresses.push(SocketAddr::new(address, port));
            }
            closed.names.push((host, port));
        }
        closed
    }

    /// Why this destination is closed.
    pub(crate) fn why(&self, host: &str, port: u16, address: IpAddr) -> Option<&'static str> {
        if self.networks.iter().any(|network| network.contains(address)) {
            return Some("in a network that the operator closed (worker.egress.deny)");
        }
        let socket = SocketAddr::new(address.to_canonical(), port);
        let is_named = self.names.iter().any(|(name, of)| name == host && *of == port);
        (is_named || self.addresses.contains(&socket))
            .then_some("a service of the cluster itself (worker.egress.deny_endpoints)")
    }
}

/// Who listens on every address is reached on loopback.
fn reached_as(address: IpAddr) -> Vec<IpAddr> {
    if address.is_unspecified() {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    vec![address.to_canonical()]
}

/// `host:port` as a host without brackets, and a port.
pub(crate) fn endpoint(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = normalise(host);
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemResolver;

    #[tokio::test]
    async fn a_service_is_closed_at_its_port_only() {
        let settings = Config {
            deny: vec!["10.1.0.0/16".parse().unwrap()],
            deny_endpoints: ["0.0.0.0:4222", "[::1]:5", "Nats.invalid:4223", "10.2.0.1:80"]
                .map(str::to_owned)
                .into(),
            ..Config::default()
        };
        let closed = Closed::of(&settings, &SystemResolver).await;
        let is_closed = |host: &str, port, address: &str| {
            closed.why(host, port, address.parse().unwrap()).is_some()
        };
        assert!(is_closed("x", 4222, "127.0.0.1"));
        assert!(is_closed("x", 4222, "::ffff:127.0.0.1"));
        assert!(is_closed("x", 4222, "::1"));
        assert!(!is_closed("x", 4221, "127.0.0.1"));
        assert!(is_closed("nats.invalid", 4223, "8.8.8.8"));
        assert!(is_closed("x", 80, "10.2.0.1") && !is_closed("x", 81, "10.2.0.1"));
        assert!(is_closed("x", 81, "10.1.9.9"));
    }
}
