//! Plain TCP out of a cell that has no resolver and no network: each declared name gets a loopback
//! address of its own inside the container, by its `hosts` file, and the runner listens there.
//! Pure.
//!
//! ```text
//! psycopg ─ db.example.com ─ /etc/hosts ─▶ 127.1.0.1:5432 (runner) ─ CONNECT ─▶ egress.sock
//! ```

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proto::egress::{FORWARDS_MAX, Place, place};
use proto::frame::Forward;
use proto::message::EgressRule;

use crate::rules::normalise;

/// What every cell's `hosts` file begins with; the last is the container's own name.
pub const HOSTS: &str =
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tcell\n";

/// The forwards for these rules, each host with one address, whatever its ports.
#[must_use]
pub fn plan(rules: &[EgressRule]) -> Vec<Forward> {
    let mut forwards: Vec<Forward> = Vec::new();
    let mut named: u8 = 0;
    for rule in rules.iter().filter(|rule| rule.tcp && rule.port != EgressRule::ANY_PORT) {
        let host = normalise(&rule.host);
        let known = forwards.iter().find(|forward| forward.host == host);
        let address = match (known, place(&host)) {
            (Some(known), _) => known.address,
            (None, Place::Itself(address)) => address,
            (None, Place::Named) if forwards.len() < FORWARDS_MAX => {
                named = named.saturating_add(1);
                Ipv4Addr::new(127, 1, 0, named)
            }
            (None, Place::Named | Place::Nowhere) => continue,
        };
        let forward = Forward { host, address, port: rule.port };
        if forwards.len() < FORWARDS_MAX && !forwards.contains(&forward) {
            forwards.push(forward);
        }
    }
    forwards
}

/// The `hosts` file of a cell with these forwards.
#[must_use]
pub fn hosts(forwards: &[Forward]) -> String {
    let mut text = HOSTS.to_owned();
    let mut written: Vec<&str> = Vec::new();
    for forward in forwards {
        if place(&forward.host) == Place::Named && !written.contains(&forward.host.as_str()) {
            written.push(&forward.host);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}\t{}", forward.address, forward.host);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: u16, tcp: bool) -> EgressRule {
        EgressRule { host: host.into(), port, private: false, tcp }
    }

    #[test]
    fn every_name_has_one_address() {
        let rules = [
            rule("db.example.com", 5432, true),
            rule("api.example.com", 443, false),
            rule("Cache", 6379, true),
            rule("DB.example.com.", 6432, true),
            rule("db.example.com", 5432, true),
            rule("localhost", 5433, true),
            rule("127.0.0.9", 80, true),
            rule("10.0.0.1", 80, true),
            rule("::1", 80, true),
            rule("*.example.com", 80, true),
            rule("*", 0, true),
            rule("evil\n127.0.0.1 x", 80, true),
        ];
        let forwards = plan(&rules);
        let seen: Vec<(String, u16)> = forwards
            .iter()
            .map(|forward| (format!("{} {}", forward.host, forward.address), forward.port))
            .collect();
        let expected = [
            ("db.example.com 127.1.0.1", 5432),
            ("cache 127.1.0.2", 6379),
            ("db.example.com 127.1.0.1", 6432),
            ("localhost 127.0.0.1", 5433),
            ("127.0.0.9 127.0.0.9", 80),
        ];
        assert_eq!(seen, expected.map(|(host, port)| (host.to_owned(), port)));
        let text = hosts(&forwards);
        assert_eq!(text.strip_prefix(HOSTS), Some("127.1.0.1\tdb.example.com\n127.1.0.2\tcache\n"));
    }

    #[test]
    fn there_are_not_too_many() {
        let rules: Vec<EgressRule> =
            (0..300).map(|index| rule(&format!("h{index}"), 1, true)).collect();
        assert_eq!(plan(&rules).len(), FORWARDS_MAX);
    }
}
