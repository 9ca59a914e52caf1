//! A tunnel is for TLS to the server that was asked for: what the cell says first is held back
//! until it has been read. Rules with `tcp` do without.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use proto::message::EgressRule;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::rules::{Grant, grant, normalise};
use crate::tls::{First, Hello, first};

/// Room for one read beyond what the parser asked for.
const READ_BYTES: usize = 4 * 1024;

/// Why a tunnel carries nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the tunnel is not used for TLS; only a rule with `tcp` allows other protocols")]
    NotTls {
        /// Whether it looks like a request that can be answered.
        http: bool,
    },
    #[error(
        "the cell said nothing for {after_ms} ms; where the server speaks first, the rule needs \
         `tcp`"
    )]
    Silent { after_ms: u64 },
    #[error("the TLS hello cannot be read")]
    Unreadable,
    #[error("the TLS hello asks for {name}, not for {host}")]
    OtherName { host: String, name: String },
    #[error("the TLS hello hides the name it asks for (ECH), so it cannot be checked")]
    Hidden,
}

impl Refusal {
    /// What the cell's client is told, in the protocol that it seems to speak.
    pub(crate) fn answer(&self) -> Vec<u8> {
        // A fatal alert: unrecognised name, or access denied.
        let alert = |description| vec![21, 3, 3, 0, 2, 2, description];
        match self {
            Self::NotTls { http: true } => {
                let text = self.to_string();
                let body =
                    serde_json::json!({ "error": "egress_refused", "message": text }).to_string();
                let head = format!(
                    "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\
                     \r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                (head + &body).into_bytes()
            }
            Self::NotTls { http: false } | Self::Silent { .. } => Vec::new(),
            Self::OtherName { .. } => alert(112),
            Self::Unreadable | Self::Hidden => alert(49),
        }
    }
}

/// Reads from the cell until it is clear what it is. Gives what was read, to be sent on; nothing
/// when the cell went away without a word.
pub(crate) async fn wait(
    cell: &mut (impl AsyncRead + Unpin),
    asked: &Asked<'_>,
    after_ms: u64,
) -> io::Result<Result<Vec<u8>, Refusal>> {
    let reading = async {
        let mut bytes = Vec::new();
        let mut enough = 1;
        loop {
            bytes.reserve(READ_BYTES);
            if cell.read_buf(&mut bytes).await? == 0 {
                let refusal = Err(Refusal::NotTls { http: false });
                return Ok(if bytes.is_empty() { Ok(bytes) } else { refusal });
            }
            if bytes.len() < enough {
                continue;
            }
            match first(&bytes) {
                First::Incomplete { bytes_min } => enough = bytes_min,
                First::Other => return Ok(Err(Refusal::NotTls { http: is_http(&bytes) })),
                First::Malformed => return Ok(Err(Refusal::Unreadable)),
                First::Hello(hello) => return Ok(asked.judge(&hello).map(|()| bytes)),
            }
        }
    };
    let silent = || Ok(Err(Refusal::Silent { after_ms }));
    timeout(Duration::from_millis(after_ms), reading).await.unwrap_or_else(|_| silent())
}

fn is_http(bytes: &[u8]) -> bool {
    let word = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    (3..=8).contains(&word.len())
        && word.len() < bytes.len()
        && word.iter().all(u8::is_ascii_uppercase)
}

/// What a tunnel was asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) grant: Grant,
    pub(crate) rules: &'a [EgressRule],
}

impl Asked<'_> {
    /// Whether this hello is meant for the host that was asked for. One without a name gets the
    /// server's own certificate, which is fine; another name may be another server behind the
    /// same address, which no rule may have opened.
    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        // Nothing is lost where any name may be asked for anyway.
        if hello.hides_name && !self.grant.any_host {
            return Err(Refusal::Hidden);
        }
        let Some(name) = &hello.name else { return Ok(()) };
        let name = normalise(name);
        let is_same = name == self.host
            || match self.host.parse::<IpAddr>() {
                Err(_) => false,
                // Who connects to an address may ask for a name that is allowed by itself.
                Ok(address) => {
                    name.parse::<IpAddr>()
                        .is_ok_and(|ip| ip.to_canonical() == address.to_canonical())
                        || grant(self.rules, &name, self.port).is_ok()
                }
            };
        if is_same { Ok(()) } else { Err(Refusal::OtherName { host: self.host.to_owned(), name }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str) -> EgressRule {
        EgressRule { host: host.into(), port: 443, private: false, tcp: false }
    }

    #[test]
    fn the_name_has_to_be_the_one_that_was_asked_for() {
        let rules = [rule("api.org"), rule("1.2.3.4"), rule("cdn.org")];
        let judge = |host: &str, name: Option<&str>, hides_name| {
            let grant = grant(&rules, host, 443).unwrap();
            let asked = Asked { host, port: 443, grant, rules: &rules };
            asked.judge(&Hello { name: name.map(str::to_owned), hides_name })
        };
        assert_eq!(judge("api.org", Some("api.org"), false), Ok(()));
        assert_eq!(judge("api.org", Some("api.org."), false), Ok(()));
        assert_eq!(judge("api.org", None, false), Ok(()));
        assert!(judge("api.org", Some("cdn.org"), false).is_err(), "allowed, but not asked for");
        assert!(judge("api.org", Some("evil.org"), false).is_err());
        assert_eq!(judge("api.org", Some("api.org"), true), Err(Refusal::Hidden));
        assert_eq!(judge("1.2.3.4", None, false), Ok(()));
        assert_eq!(judge("1.2.3.4", Some("1.2.3.4"), false), Ok(()));
        assert_eq!(judge("1.2.3.4", Some("api.org"), false), Ok(()));
        assert!(judge("1.2.3.4", Some("evil.org"), false).is_err());
        let any = [rule("*")];
        let asked = Asked {
            host: "x.org",
            port: 443,
            grant: grant(&any, "x.org", 443).unwrap(),
            rules: &any,
        };
        let hello = |name: &str| Hello { name: Some(name.into()), hides_name: true };
        assert_eq!(asked.judge(&hello("x.org")), Ok(()));
        assert!(asked.judge(&hello("y.org")).is_err());
    }

    #[test]
    fn requests_are_recognised() {
        for (bytes, is) in [
            (&b"GET / HTTP/1.1"[..], true),
            (b"CONNECT x", true),
            (b"get /", false),
            (b"GET", false),
            (b"\0\0\0\x08", false),
        ] {
            assert_eq!(is_http(bytes), is, "{bytes:?}");
        }
    }
}
