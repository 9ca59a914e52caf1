//! The proxy's HTTP: `CONNECT host:port`, and plain requests in absolute form.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use proto::connection::ConnectionState;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::dial::Upstream;
use crate::hello::Asked;
use crate::meter::Exceeded;
use crate::rules::{Refusal, normalise};
use crate::{Policy, Shared, dial, hello};

type Body = BoxBody<Bytes, hyper::Error>;

/// Headers that belong to one connection only (RFC 9110 §7.6.1), and to the proxy itself.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Answers one request of a cell.
pub(crate) async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, Infallible> {
    let response = if request.method() == Method::CONNECT {
        tunnel(request, shared, permit).await
    } else {
        forward(request, &shared).await
    };
    Ok(response.unwrap_or_else(|refusal| refusal))
}

/// The destination of an absolute URI or an authority: host without brackets, and port.
fn destination(uri: &Uri, default_port: Option<u16>) -> Option<(String, u16)> {
    let authority = uri.authority()?;
    // The whole text goes to the server as its `Host`, so it must say nothing but what is checked
    // here: no user name before an `@`, no second host behind the port.
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        None if rest.is_empty() => default_port?,
        _ => return None,
    };
    let host = normalise(authority.host());
    (!host.is_empty() && port != 0).then_some((host, port))
}

async fn tunnel(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, Response<Body>> {
    let Some((host, port)) = destination(request.uri(), None) else {
        return Err(invalid("CONNECT needs host:port"));
    };
    let upstream =
        shared.connect(&host, port).await.map_err(|error| failed(&host, port, &error))?;
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        let carried = carry(request, upstream, &shared.policy, (&host, port));
        if let Some(Err(error)) = stop.run_until_cancelled(carried).await {
            tracing::trace!(%error, "tunnel ended");
        }
        drop(permit);
    });
    Ok(Response::new(empty()))
}

/// Carries a tunnel's bytes. What goes elsewhere than to plain TCP is looked at first; there, the
/// server may be the one that speaks first.
async fn carry(
    request: Request<Incoming>,
    mut upstream: Upstream,
    policy: &Policy,
    (host, port): (&str, u16),
) -> io::Result<()> {
    let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    let mut cell = TokioIo::new(upgraded);
    if !upstream.grant.tcp {
        let asked = Asked { host, port, grant: upstream.grant, rules: &policy.rules };
        match hello::wait(&mut cell, &asked, policy.settings.connect_ms_max).await? {
            Ok(said) => upstream.stream.write_all(&said).await?,
            Err(refusal) => {
                let reason = Some(refusal.to_string());
                upstream.stream.entry().end(ConnectionState::Refused, reason);
                cell.write_all(&refusal.answer()).await?;
                return cell.shutdown().await;
            }
        }
    }
    tokio::io::copy_bidirectional(&mut cell, &mut upstream.stream).await.map(drop)
}

/// Answers a connection over the limit: every request of it is refused.
pub(crate) async fn turn_away(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    exceeded: Exceeded,
) -> Result<Response<Body>, Infallible> {
    let default_port = (request.method() != Method::CONNECT).then_some(80);
    let (host, port) = destination(request.uri(), default_port).unwrap_or_default();
    let entry = shared.ledger.open(&host, port);
    entry.end(ConnectionState::Refused, Some(exceeded.to_string()));
    let mut response = failed(&host, port, &dial::Error::Exceeded(exceeded));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

async fn forward(
    mut request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Result<Response<Body>, Response<Body>> {
    if request.uri().scheme_str() != Some("http") {
        return Err(invalid("this is a proxy: use CONNECT, or an absolute http:// URL"));
    }
    let Some((host, port)) = destination(request.uri(), Some(80)) else {
        return Err(invalid("the URL names no host"));
    };
    to_origin_form(&mut request).map_err(|()| invalid("the URL cannot be forwarded"))?;
    let upstream =
        shared.connect(&host, port).await.map_err(|error| failed(&host, port, &error))?;
    let gateway = |error: hyper::Error| {
        tracing::trace!(%error, "upstream failed");
        plain(StatusCode::BAD_GATEWAY, "upstream_failed", &host, port, "the server did not answer")
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(upstream.stream))
            .await
            .map_err(gateway)?;
    let stop = shared.stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(connection).await });
    let mut response = sender.send_request(request).await.map_err(gateway)?;
    drop_hop_by_hop(response.headers_mut());
    let says_empty = response.headers().get(header::CONTENT_LENGTH).is_some_and(|n| n == "0");
    Ok(response.map(|body| if says_empty { Unmeasured.boxed() } else { body.boxed() }))
}

/// Nothing, of unknown length. Of an empty body hyper writes the length behind all other headers;
/// of this one the header stays where the server had it.
struct Unmeasured;

impl hyper::body::Body for Unmeasured {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(None)
    }
}

/// `GET http://host/path` becomes `GET /path` with the `Host` that was checked.
fn to_origin_form(request: &mut Request<Incoming>) -> Result<(), ()> {
    let uri = request.uri();
    let authority = uri.authority().ok_or(())?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| ())?;
    // Read again from its text: a URL that ends with its host has an empty path, which would be
    // sent as no path at all, while the text of an empty path is "/".
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path: PathAndQuery = path.parse().map_err(|_| ())?;
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    drop_hop_by_hop(request.headers_mut());
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    let dropped = |name: &HeaderName| {
        named.contains(name) || HOP_BY_HOP.contains(name) || name == "proxy-connection"
    };
    // Not removed one by one: the last would take the place of each, and components see the order.
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !dropped(name)) {
        kept.append(name, value.clone());
    }
    *headers = kept;
}

fn failed(host: &str, port: u16, error: &dial::Error) -> Response<Body> {
    let message = error.to_string();
    match error {
        dial::Error::Refused(refusal) => {
            let private = match refusal {
                Refusal::NotAllowed { .. } => "",
                Refusal::Inside { .. } => ", \"private\": true",
            };
            let hint = format!(
                "{message}; to allow it, an operator adds {{\"host\": \"{host}\", \"port\": \
                 {port}{private}}} to the egress rules of the flow or tenant"
            );
            plain(StatusCode::FORBIDDEN, "egress_refused", host, port, &hint)
        }
        dial::Error::Exceeded(_) => {
            plain(StatusCode::TOO_MANY_REQUESTS, "egress_limited", host, port, &message)
        }
        dial::Error::Unresolved { .. } => {
            plain(StatusCode::BAD_GATEWAY, "unresolved", host, port, &message)
        }
        dial::Error::Unreachable { .. } => {
            plain(StatusCode::BAD_GATEWAY, "unreachable", host, port, &message)
        }
        dial::Error::TimedOut { .. } => {
            plain(StatusCode::GATEWAY_TIMEOUT, "timed_out", host, port, &message)
        }
    }
}

fn invalid(message: &str) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": "invalid", "message": message}))
}

fn plain(status: StatusCode, code: &str, host: &str, port: u16, message: &str) -> Response<Body> {
    let body = serde_json::json!({"error": code, "host": host, "port": port, "message": message});
    json(status, &body)
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(
        Full::new(Bytes::from(body.to_string()))
            .map_err(|never: Infallible| match never {})
            .boxed(),
    );
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty() -> Body {
    Empty::new().map_err(|never: Infallible| match never {}).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<(String, u16)> {
        destination(&uri.parse().unwrap(), Some(80))
    }

    #[test]
    fn the_destination_is_read_from_the_authority_only() {
        assert_eq!(of("http://Example.com/x"), Some(("example.com".into(), 80)));
        assert_eq!(of("http://example.com.:8080/"), Some(("example.com".into(), 8080)));
        assert_eq!(of("http://[::1]:9/"), Some(("::1".into(), 9)));
        assert_eq!(of("http://good.org@evil.org/"), None);
        assert_eq!(of("http://good.org:80[::1]:80/"), None);
        assert_eq!(of("http://good.org:+80/"), None);
        assert_eq!(of("http://good.org:65536/"), None);
        assert_eq!(of("/path"), None);
        assert_eq!(of("example.com:443"), Some(("example.com".into(), 443)));
        assert_eq!(of("example.com:0"), None);
    }

    #[test]
    fn headers_of_the_hop_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("proxy-authorization", "1"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("accept", "*/*"),
            ("date", "today"),
            ("content-length", "0"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["accept", "date", "content-length"]
        );
    }
}
