//! Where a host of a `tcp` rule can be found inside a cell. Pure: the API refuses what the worker
//! could not do.

use std::net::{IpAddr, Ipv4Addr};

/// `tcp` destinations of one cell, each with a listener.
pub const FORWARDS_MAX: usize = 64;

/// Where a host of a `tcp` rule is found inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address of its own, by its name.
    Named,
    /// At this loopback address, which it is itself.
    Itself(Ipv4Addr),
    /// Nowhere: an address cannot be given another one, and a pattern is not a name.
    Nowhere,
}

/// Where this host is found. It is in lower case, without brackets and a final dot.
#[must_use]
pub fn place(host: &str) -> Place {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => return Place::Itself(address),
        Ok(_) => return Place::Nowhere,
        Err(_) => {}
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match host {
        // The name has an address already, and programs rely on it.
        "localhost" => Place::Itself(Ipv4Addr::LOCALHOST),
        // Names of the container itself.
        "" | "cell" | "ip6-localhost" | "ip6-loopback" => Place::Nowhere,
        host if host.bytes().all(is_word) => Place::Named,
        _ => Place::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_loopback_addresses_have_a_place() {
        for host in ["db", "db.example.com", "a_b-c.internal"] {
            assert_eq!(place(host), Place::Named, "{host}");
        }
        assert_eq!(place("localhost"), Place::Itself(Ipv4Addr::LOCALHOST));
        assert_eq!(place("127.9.9.9"), Place::Itself(Ipv4Addr::new(127, 9, 9, 9)));
        for host in ["", "cell", "*", "*.x.org", "10.0.0.1", "::1", "8.8.8.8", "a b", "a\n"] {
            assert_eq!(place(host), Place::Nowhere, "{host:?}");
        }
    }
}
