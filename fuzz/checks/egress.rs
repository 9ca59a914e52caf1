//! What must be true of the egress proxy, whatever a cell writes to it. Shared by the fuzz target
//! and by the tests of `egress`, which replay the corpus. Everything stays on loopback.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flowcell_domain::id::RunId;
use flowcell_egress::{Config, Policy, Proxy, Resolve};
use flowcell_proto::connection::{Connection, ConnectionState};
use flowcell_proto::message::EgressRule;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

/// The one destination that can be reached; it resolves to a server of this process.
const OPEN: (&str, u16) = ("api.test", 8080);
/// Allowed by a rule, but its addresses are inside.
const WILD: (&str, u16) = (".wild.test", 443);

/// A proxy must answer or hang up; this long only when it hangs.
const HANGS: Duration = Duration::from_secs(20);

/// More connections than one input can ask for.
const RECEIVED_MAX: usize = 4_096;

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// What outlives one input: a runtime, the server behind the proxy, and what both have seen.
struct Bench {
    runtime: Runtime,
    dir: TempDir,
    names: Arc<Names>,
    received: mpsc::Receiver<Vec<u8>>,
}

/// Answers with the server's address, and remembers the question.
#[derive(Debug)]
struct Names {
    server: IpAddr,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().expect("no one panics while it is held").push(host.to_owned());
        Ok(vec![self.server])
    }
}

/// Names are asked for and connections made only where a rule says so, and what arrives at a server
/// is a request for the host that was checked. Says how many connections were made.
pub(crate) fn request(data: &[u8]) -> usize {
    BENCH.with_borrow_mut(|bench| {
        let bench = bench.get_or_insert_with(Bench::new);
        let (ledger, received) = Bench::ask(bench, data);
        for host in bench.names.asked.lock().expect("as above").drain(..) {
            let wild = host.strip_suffix(WILD.0).is_some_and(|below| !below.is_empty());
            assert!(host == OPEN.0 || wild, "asked for {host:?}");
        }
        for connection in &ledger {
            let open = (connection.host.as_str(), connection.port) == OPEN;
            assert!(open || !was_made(connection), "connected to {connection:?}");
        }
        let made = received.len();
        for seen in received {
            // In a tunnel, anything may be said.
            if !data.windows(7).any(|word| word == b"CONNECT") {
                check_head(&seen);
            }
        }
        made
    })
}

/// One line in origin form, and one `Host`: the one whose rule was checked.
fn check_head(seen: &[u8]) {
    let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let head = String::from_utf8_lossy(&seen[..end]);
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    assert!(line.len() == 3 && line[2] == "HTTP/1.1", "{head:?}");
    assert!(line[1].starts_with('/') || line[1] == "*", "not in origin form: {head:?}");
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let hosts: Vec<&str> =
        headers.iter().filter(|(name, _)| name == "host").map(|(_, value)| *value).collect();
    let [host] = hosts.as_slice() else { panic!("{} hosts: {head:?}", hosts.len()) };
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let name = name.strip_suffix('.').unwrap_or(name);
    assert!(name.eq_ignore_ascii_case(OPEN.0) && port.parse() == Ok(OPEN.1), "{head:?}");
    let hop = ["proxy-authorization", "proxy-connection", "keep-alive", "upgrade", "te"];
    assert!(!headers.iter().any(|(name, _)| hop.contains(&name.as_str())), "{head:?}");
    let lengths = headers.iter().filter(|(name, _)| name == "content-length").count();
    let chunked = headers.iter().filter(|(name, _)| name == "transfer-encoding").count();
    assert!(lengths + chunked <= 1, "two ways to end the body: {head:?}");
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let (sender, received) = mpsc::channel(RECEIVED_MAX);
        // An address of this process's own: several may run at once, and the port is fixed.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let server = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let listener = runtime.block_on(TcpListener::bind((server, OPEN.1))).expect("loopback");
        runtime.spawn(serve(listener, sender));
        let names = Names { server: server.into(), asked: Mutex::default() };
        Self {
            runtime,
            dir: tempfile::tempdir().expect("a folder"),
            names: Arc::new(names),
            received,
        }
    }

    /// What the proxy did with these bytes, and what its server got.
    fn ask(&mut self, data: &[u8]) -> (Vec<Connection>, Vec<Vec<u8>>) {
        let socket = self.dir.path().join("egress.sock");
        let _ = std::fs::remove_file(&socket);
        let policy = policy(self.names.clone());
        let received = &mut self.received;
        self.runtime.block_on(async {
            let proxy = Proxy::open(UnixListener::bind(&socket).expect("a socket"), policy);
            let ledger = proxy.ledger();
            let talked = timeout(HANGS, talk(&socket, data)).await;
            assert!(talked.is_ok(), "neither an answer nor an end");
            drop(proxy);
            let ledger = ledger.log().entries;
            let made = ledger.iter().filter(|connection| was_made(connection)).count();
            let mut all = Vec::new();
            for _ in 0..made.min(RECEIVED_MAX) {
                let seen = timeout(HANGS, received.recv()).await;
                all.extend(seen.expect("the server sees every connection"));
            }
            (ledger, all)
        })
    }
}

/// Whether the server was reached.
fn was_made(connection: &Connection) -> bool {
    !matches!(connection.state, ConnectionState::Refused | ConnectionState::Failed)
}

fn policy(resolver: Arc<Names>) -> Policy {
    let rule = |host: String, port, private| EgressRule { host, port, private, tcp: false };
    Policy {
        run: RunId(Uuid::nil()),
        cell: "N-1".into(),
        rules: vec![
            rule(OPEN.0.to_owned(), OPEN.1, true),
            rule(format!("*{}", WILD.0), WILD.1, false),
            rule("10.1.2.3".to_owned(), 80, false),
        ],
        settings: Config { connect_ms_max: 5_000, ..Config::default() },
        resolver,
        closed: Arc::default(),
    }
}

async fn talk(socket: &Path, data: &[u8]) -> io::Result<()> {
    let (mut read, mut write) = UnixStream::connect(socket).await?.into_split();
    let mut answer = Vec::new();
    let send = async {
        // The proxy may hang up in the middle.
        let _ = write.write_all(data).await;
        let _ = write.shutdown().await;
    };
    let (_, end) = tokio::join!(send, read.read_to_end(&mut answer));
    end.map(drop)
}

/// Answers every connection once, and then says what it got.
async fn serve(listener: TcpListener, received: mpsc::Sender<Vec<u8>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let received = received.clone();
        tokio::spawn(async move {
            let mut seen = vec![0; 64 * 1024];
            let mut length = 0;
            while let Ok(count @ 1..) = stream.read(&mut seen[length..]).await {
                length += count;
                if seen[..length].windows(4).any(|four| four == b"\r\n\r\n") {
                    break;
                }
            }
            seen.truncate(length);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let _ = received.send(seen).await;
        });
    }
}
