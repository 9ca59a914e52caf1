//! The way out of a real container, and the proxy alone against servers on loopback.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::RunId;
use flowcell_worker::config::EgressConfig;
use flowcell_worker::egress::{Policy, Proxy, Resolve};
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::skip;

fn rule(host: &str, port: u16, private: bool) -> EgressRule {
    EgressRule { host: host.into(), port, private }
}

/// Answers every request with its own head and body; counts connections.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counting.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let count = stream.read(&mut buffer).await.unwrap_or(0);
                    seen.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&seen).into_owned();
                    if count == 0
                        || (text.contains("\r\n\r\n") && !text.contains("POST"))
                        || text.ends_with("the body")
                        || text.ends_with("0\r\n\r\n")
                    {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                            text.len()
                        );
                        let _ = stream.write_all((head + &text).as_bytes()).await;
                        return;
                    }
                }
            });
        }
    });
    (port, count)
}

/// Names as a hostile DNS server would give them.
#[derive(Debug)]
struct Names(Vec<(&'static str, Vec<IpAddr>)>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.0.iter().find(|(name, _)| *name == host);
        found.map(|(_, addresses)| addresses.clone()).ok_or(io::ErrorKind::NotFound.into())
    }
}

struct Cell {
    socket: std::path::PathBuf,
    proxy: Proxy,
    _dir: tempfile::TempDir,
}

fn cell(rules: Vec<EgressRule>, names: Names, change: impl FnOnce(&mut EgressConfig)) -> Cell {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("egress.sock");
    let mut settings = EgressConfig { connect_ms_max: 2_000, ..EgressConfig::default() };
    change(&mut settings);
    let policy = Policy {
        run: RunId(Uuid::nil()),
        cell: "N-1".into(),
        rules,
        settings,
        resolver: Arc::new(names),
    };
    let proxy = Proxy::open(UnixListener::bind(&socket).unwrap(), policy);
    Cell { socket, proxy, _dir: dir }
}

impl Cell {
    async fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, host: &str, port: u16) -> String {
        self.ask(&format!(
            "GET http://{host}:{port}/path?q=1 HTTP/1.1\r\nHost: evil.org\r\nConnection: close, X-Hop\r\n\
             X-Hop: 1\r\nX-End: 2\r\nProxy-Authorization: Basic x\r\n\r\n"
        ))
        .await
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn plain_requests_are_forwarded_in_origin_form() {
    let (port, count) = server().await;
    let cell = cell(vec![rule("127.0.0.1", port, true)], Names(vec![]), |_| {});
    let answer = cell.get("127.0.0.1", port).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let (_, seen) = answer.split_once("\r\n\r\n").unwrap();
    let seen = seen.to_lowercase();
    assert!(seen.starts_with("get /path?q=1 http/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{seen}");
    assert!(seen.contains("x-end: 2"), "{seen}");
    for hop in ["x-hop", "proxy-authorization", "connection:", "evil.org"] {
        assert!(!seen.contains(hop), "{hop} in {seen}");
    }
    let body = "POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Length: 8\r\n\r\nthe body";
    let answer = cell.ask(&body.replace("{port}", &port.to_string())).await;
    assert!(answer.ends_with("the body"), "{answer}");
    let chunked = "POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = cell.ask(&chunked.replace("{port}", &port.to_string())).await;
    assert!(answer.contains("abc"), "{answer}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let entries = cell.proxy.ledger().entries();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.refused.is_none()));
}

#[tokio::test]
async fn tunnels_carry_bytes_both_ways() {
    let (port, _) = server().await;
    let names = Names(vec![("model.internal", vec![ip("127.0.0.1")])]);
    let cell = cell(vec![rule("*.internal", port, true)], names, |_| {});
    let request = format!("CONNECT model.internal:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = UnixStream::connect(&cell.socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{head:?}");
    stream.write_all(b"GET /through HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("GET /through HTTP/1.1\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_not_allowed_gets_403_and_no_packet() {
    let (port, count) = server().await;
    let names = || {
        Names(vec![
            ("localhost", vec![ip("127.0.0.1")]),
            ("rebind.org", vec![ip("127.0.0.1")]),
            ("mixed.org", vec![ip("93.184.215.14"), ip("127.0.0.1")]),
            ("mapped.org", vec![ip("::ffff:127.0.0.1")]),
            ("six.org", vec![ip("2002:7f00:1::")]),
            ("metadata.org", vec![ip("169.254.169.254")]),
        ])
    };
    let open: Vec<EgressRule> =
        ["rebind.org", "mixed.org", "mapped.org", "six.org", "metadata.org", "127.0.0.1", "::1"]
            .map(|host| rule(host, port, false))
            .into();
    let shut = cell(open, names(), |_| {});
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "rebind.org",
        "mixed.org",
        "mapped.org",
        "six.org",
        "metadata.org",
        "169.254.169.254",
        "0.0.0.0",
        "2130706433",
        "unknown.org",
    ] {
        let answer = shut.get(host, port).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(
            answer.contains("egress_refused") && answer.contains(&port.to_string()),
            "{answer}"
        );
        let connect =
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = shut.ask(&connect).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    let private = vec![rule("metadata.org", port, true), rule("rebind.org", port, true)];
    let private = cell(private, names(), |settings| {
        settings.deny = vec!["127.0.0.0/8".parse().unwrap()];
    });
    for host in ["metadata.org", "rebind.org"] {
        let answer = private.get(host, port).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing was dialled");
    assert!(shut.proxy.ledger().entries().iter().all(|entry| entry.refused.is_some()));
}

#[tokio::test]
async fn what_is_no_proxy_request_is_refused() {
    let (port, count) = server().await;
    let cell = cell(vec![rule("127.0.0.1", port, true)], Names(vec![]), |_| {});
    for request in [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET https://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!("GET http://a@127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "garbage\r\n\r\n".to_owned(),
    ] {
        let answer = cell.ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bytes_and_silence_have_limits() {
    let (port, _) = server().await;
    let rules = vec![rule("127.0.0.1", port, true)];
    let small = cell(rules.clone(), Names(vec![]), |settings| settings.bytes_max = 100);
    let answer = small.get("127.0.0.1", port).await;
    assert!(!answer.contains("x-end"), "{answer}");
    let quiet = cell(rules, Names(vec![]), |settings| settings.idle_ms_max = 200);
    let mut stream = UnixStream::connect(&quiet.socket).await.unwrap();
    stream
        .write_all(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut all = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await.unwrap().unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_out_only_through_its_rules() {
    if skip() {
        return;
    }
    let (port, count) = server().await;
    let cluster = Cluster::start().await;
    let get = |host: &str| {
        format!("GET http://{host}:{port}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    };
    let answer = cluster.egress(&get("127.0.0.1"), vec![]).await;
    assert!(answer.starts_with("no egress"), "{answer}");
    let answer = cluster.egress(&get("127.0.0.1"), vec![rule("127.0.0.1", port, false)]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let answer = cluster.egress(&get("127.0.0.1"), vec![rule("127.0.0.1", port, true)]).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET /x"), "{answer}");
    cluster.stop().await;
}
