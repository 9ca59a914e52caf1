//! Which destinations a cell may ask for, and which of a name's addresses may be dialled. Pure.

use std::net::IpAddr;

use proto::message::EgressRule;

use crate::address::{Class, classify};
use crate::closed::Closed;

/// Why a destination is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No rule names it.
    #[error("no egress rule allows {host}:{port}")]
    NotAllowed {
        /// The host as asked for.
        host: String,
        /// The port.
        port: u16,
    },
    /// A rule names it, but it is not an ordinary address of the internet.
    #[error("{host}:{port} is {what}, which this rule does not open")]
    Inside {
        /// The host as asked for.
        host: String,
        /// The port.
        port: u16,
        /// What its address is.
        what: &'static str,
    },
}

/// What the rules allow at one destination, all that name it taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// It may be inside the network.
    private: bool,
    /// It may even be a metadata service: the very address was named.
    metadata: bool,
    /// It may speak anything.
    pub(crate) tcp: bool,
    /// Any other host is allowed at this port as well.
    pub(crate) any_host: bool,
}

/// What the rules allow at this destination.
pub(crate) fn grant(rules: &[EgressRule], host: &str, port: u16) -> Result<Grant, Refusal> {
    let mut found = None;
    for rule in rules.iter().filter(|rule| at_port(rule, port) && names(rule, host)) {
        let any_host = rule.is_any_host();
        let inside = rule.private && !any_host;
        let literal = normalise(&rule.host).parse::<IpAddr>().is_ok();
        let none = Grant { private: false, metadata: false, tcp: false, any_host: false };
        let grant: &mut Grant = found.get_or_insert(none);
        grant.private |= inside;
        grant.metadata |= inside && literal;
        grant.tcp |= rule.tcp && !any_host;
        grant.any_host |= any_host;
    }
    found.ok_or_else(|| Refusal::NotAllowed { host: host.into(), port })
}

impl Grant {
    /// Whether this address of the destination may be dialled.
    pub(crate) fn admit(
        &self,
        host: &str,
        port: u16,
        address: IpAddr,
        closed: &Closed,
    ) -> Result<(), Refusal> {
        let refuse = |what| Err(Refusal::Inside { host: host.into(), port, what });
        if let Some(what) = closed.why(host, port, address) {
            return refuse(what);
        }
        match classify(address) {
            Class::Global => Ok(()),
            Class::Private(_) if self.private => Ok(()),
            Class::Metadata(_) if self.metadata => Ok(()),
            Class::Private(what) | Class::Metadata(what) | Class::Never(what) => refuse(what),
        }
    }
}

/// Lower case, without the final dot of an absolute name and the brackets of an IPv6 address.
pub(crate) fn normalise(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn at_port(rule: &EgressRule, port: u16) -> bool {
    rule.port == port || (rule.port == EgressRule::ANY_PORT && rule.is_any_host())
}

fn names(rule: &EgressRule, host: &str) -> bool {
    if rule.is_any_host() {
        return !host.is_empty();
    }
    let (pattern, host) = (normalise(&rule.host), normalise(host));
    if let (Ok(a), Ok(b)) = (pattern.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        return a.to_canonical() == b.to_canonical();
    }
    match pattern.strip_prefix('*') {
        // `*.example.com`: something must stand before the dot. An address is never "below" one.
        Some(suffix) if suffix.starts_with('.') => {
            host.parse::<IpAddr>().is_err() && host.len() > suffix.len() && host.ends_with(suffix)
        }
        Some(_) => false,
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: u16, private: bool) -> EgressRule {
        EgressRule { host: host.into(), port, private, tcp: false }
    }

    fn allows(rules: &[EgressRule], host: &str, port: u16) -> bool {
        grant(rules, host, port).is_ok()
    }

    #[test]
    fn names_match_without_case_and_wildcards_only_below() {
        let rules = [rule("API.OpenAI.com", 443, false), rule("*.example.com", 443, false)];
        for (host, port, allowed) in [
            ("api.openai.com", 443, true),
            ("API.OPENAI.COM.", 443, true),
            ("api.openai.com", 80, false),
            ("xapi.openai.com", 443, false),
            ("a.example.com", 443, true),
            ("a.b.example.com", 443, true),
            ("example.com", 443, false),
            (".example.com", 443, false),
            ("badexample.com", 443, false),
            ("a.example.com.evil.org", 443, false),
            ("1.2.3.4", 443, false),
            ("", 443, false),
        ] {
            assert_eq!(allows(&rules, host, port), allowed, "{host}:{port}");
        }
        assert!(allows(&[rule("[::1]", 1, true)], "::1", 1));
        assert!(allows(&[rule("127.0.0.1", 1, true)], "::ffff:127.0.0.1", 1));
        assert!(!allows(&[rule("x.org", 0, false)], "x.org", 80), "any port is for any host only");
        assert!(!allows(&[rule("*x.org", 80, false)], "ax.org", 80), "no pattern but `*.`");
    }

    #[test]
    fn every_address_is_checked_against_the_rule() {
        let open = rule("model.internal", 80, true);
        let shut = rule("model.internal", 80, false);
        let ok = |rule: &EgressRule, address: &str, closed: &Closed| {
            let grant = grant(std::slice::from_ref(rule), "model.internal", 80).unwrap();
            grant.admit("model.internal", 80, address.parse().unwrap(), closed).is_ok()
        };
        let none = Closed::default();
        assert!(ok(&shut, "8.8.8.8", &none));
        assert!(!ok(&shut, "127.0.0.1", &none));
        assert!(!ok(&shut, "::ffff:10.0.0.1", &none));
        assert!(ok(&open, "127.0.0.1", &none));
        assert!(ok(&open, "fd12::1", &none));
        assert!(!ok(&open, "169.254.169.254", &none), "a name never leads to metadata");
        assert!(!ok(&open, "224.0.0.1", &none));
        assert!(!ok(&open, "2002:7f00:1::", &none));
        let literal = [rule("169.254.169.254", 80, true)];
        let grant = grant(&literal, "169.254.169.254", 80).unwrap();
        assert!(grant.admit("x", 80, "169.254.169.254".parse().unwrap(), &none).is_ok());
    }

    #[test]
    fn the_public_internet_is_never_the_inside() {
        // As if somebody had stored what the API refuses: `*` with `private` and `tcp`.
        let mut all = rule("*", 0, true);
        all.tcp = true;
        for (host, port) in [("x.org", 1), ("8.8.8.8", 53), ("10.0.0.1", 80)] {
            let grant = grant(std::slice::from_ref(&all), host, port).unwrap();
            assert_eq!((grant.private, grant.metadata, grant.tcp), (false, false, false));
            let admits = |address: &str| {
                grant.admit(host, port, address.parse().unwrap(), &Closed::default()).is_ok()
            };
            assert!(admits("8.8.8.8") && admits("2606:4700::1"));
            for inside in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "168.63.129.16", "::1"] {
                assert!(!admits(inside), "{inside}");
            }
        }
        assert!(allows(&[rule("*", 443, false)], "x.org", 443));
        assert!(!allows(&[rule("*", 443, false)], "x.org", 80));
    }

    #[test]
    fn rules_for_one_destination_add_up() {
        let mut tcp = rule("db.internal", 5432, false);
        tcp.tcp = true;
        let rules = [rule("*", 0, false), rule("db.internal", 5432, true), tcp];
        let both = grant(&rules, "db.internal", 5432).unwrap();
        assert!(both.private && both.tcp && both.any_host && !both.metadata);
        let other = grant(&rules, "db.internal", 5433).unwrap();
        assert!(!other.private && !other.tcp);
    }
}
