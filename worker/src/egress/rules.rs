//! Which destinations a cell may ask for, and which of a name's addresses may be dialled. Pure.

use std::net::IpAddr;

use proto::message::EgressRule;

use super::address::{Class, Network, classify};

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

/// The rule for this destination. An exact, `private` rule is preferred over a wildcard.
pub(crate) fn find<'a>(
    rules: &'a [EgressRule],
    host: &str,
    port: u16,
) -> Result<&'a EgressRule, Refusal> {
    let matching = || rules.iter().filter(|rule| rule.port == port && names(&rule.host, host));
    matching()
        .find(|rule| rule.private)
        .or_else(|| matching().next())
        .ok_or_else(|| Refusal::NotAllowed { host: host.into(), port })
}

/// Whether this address of the destination may be dialled.
pub(crate) fn admit(
    rule: &EgressRule,
    host: &str,
    address: IpAddr,
    deny: &[Network],
) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::Inside { host: host.into(), port: rule.port, what });
    if deny.iter().any(|network| network.contains(address)) {
        return refuse("in a network that the operator closed (worker.egress.deny)");
    }
    match classify(address) {
        Class::Global => Ok(()),
        Class::Private(_) if rule.private => Ok(()),
        Class::Metadata(_) if rule.private && is_literal(&rule.host, address) => Ok(()),
        Class::Private(what) | Class::Metadata(what) | Class::Never(what) => refuse(what),
    }
}

/// Lower case, without the final dot of an absolute name and the brackets of an IPv6 address.
pub(crate) fn normalise(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn names(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (normalise(pattern), normalise(host));
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

fn is_literal(host: &str, address: IpAddr) -> bool {
    normalise(host).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: u16, private: bool) -> EgressRule {
        EgressRule { host: host.into(), port, private }
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
            assert_eq!(find(&rules, host, port).is_ok(), allowed, "{host}:{port}");
        }
        assert!(find(&[rule("*", 443, true)], "x.org", 443).is_err(), "no catch-all by accident");
        assert!(find(&[rule("[::1]", 1, true)], "::1", 1).is_ok());
        assert!(find(&[rule("127.0.0.1", 1, true)], "::ffff:127.0.0.1", 1).is_ok());
    }

    #[test]
    fn every_address_is_checked_against_the_rule() {
        let open = rule("model.internal", 80, true);
        let shut = rule("model.internal", 80, false);
        let ok = |rule: &EgressRule, address: &str, deny: &[Network]| {
            admit(rule, "model.internal", address.parse().unwrap(), deny).is_ok()
        };
        assert!(ok(&shut, "8.8.8.8", &[]));
        assert!(!ok(&shut, "127.0.0.1", &[]));
        assert!(!ok(&shut, "::ffff:10.0.0.1", &[]));
        assert!(ok(&open, "127.0.0.1", &[]));
        assert!(ok(&open, "fd12::1", &[]));
        assert!(!ok(&open, "169.254.169.254", &[]), "a name never leads to metadata");
        assert!(!ok(&open, "224.0.0.1", &[]));
        assert!(!ok(&open, "2002:7f00:1::", &[]));
        let deny: Network = "127.0.0.0/8".parse().unwrap();
        assert!(!ok(&open, "127.0.0.1", &[deny]));
        assert!(!ok(&open, "::ffff:127.0.0.1", &[deny]));
        let literal = rule("169.254.169.254", 80, true);
        assert!(
            admit(&literal, "169.254.169.254", "169.254.169.254".parse().unwrap(), &[]).is_ok()
        );
    }
}
