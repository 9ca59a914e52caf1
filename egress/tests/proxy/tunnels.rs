//! What tunnels carry, how fast, how many, and what is remembered of them.

use std::time::{Duration, Instant};

use flowcell_egress::Config;
use proto::connection::ConnectionState;
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::time::timeout;

use crate::cell::cell;
use crate::world::{Names, ip, rule, server, tcp};

/// Answers nothing until it has been sent something, then with the same; a greeting first.
async fn echo(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.write_all(greeting).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    port
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A TLS hello with this name and, or not, an encrypted one.
fn hello(name: Option<&str>, encrypted: bool) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let list = block(&[vec![0], block(name.as_bytes())].concat());
        extensions.extend([vec![0, 0], block(&list)].concat());
    }
    if encrypted {
        extensions.extend([vec![0xfe, 0x0d], block(&[0; 20])].concat());
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(block(&[0x13, 1]));
    body.extend([1, 0]);
    body.extend(block(&extensions));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [vec![22, 3, 1], block(&message)].concat()
}

async fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end too.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await.unwrap();
    all
}

async fn echoed(stream: &mut UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    let read = timeout(Duration::from_secs(5), stream.read_exact(&mut back)).await.unwrap();
    read.is_ok() && back == bytes
}

#[tokio::test]
async fn tls_must_be_for_the_host_that_was_asked_for() {
    let port = echo(b"").await;
    let names = Names(vec![("api.org", vec![ip("127.0.0.1")]), ("cdn.org", vec![ip("127.0.0.1")])]);
    let rules = ["api.org", "cdn.org", "127.0.0.1"].map(|host| rule(host, port, true));
    let cell = cell(rules.into(), names, |_| {}).await;
    let good = [
        ("api.org", hello(Some("API.org"), false)),
        ("api.org", hello(None, false)),
        ("127.0.0.1", hello(None, false)),
        ("127.0.0.1", hello(Some("cdn.org"), false)),
    ];
    let count = good.len();
    for (host, bytes) in good {
        let mut stream = cell.tunnel(host, port).await;
        // In two pieces, as a slow client would.
        let (first, second) = bytes.split_at(20);
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(second).await.unwrap();
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, bytes, "{host}");
        assert!(echoed(&mut stream, b"and more").await);
    }
    let bad = [
        ("api.org", hello(Some("cdn.org"), false), vec![21, 3, 3, 0, 2, 2, 112]),
        ("127.0.0.1", hello(Some("evil.org"), false), vec![21, 3, 3, 0, 2, 2, 112]),
        ("api.org", hello(Some("api.org"), true), vec![21, 3, 3, 0, 2, 2, 49]),
        ("api.org", [22, 3, 1, 0, 1, 2].to_vec(), vec![21, 3, 3, 0, 2, 2, 49]),
        ("api.org", b"SSH-2.0-x\r\n".to_vec(), vec![]),
    ];
    for (host, bytes, answer) in bad {
        let mut stream = cell.tunnel(host, port).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(rest(&mut stream).await, answer, "{host}: {bytes:?}");
    }
    let mut stream = cell.tunnel("api.org", port).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("`tcp`"), "{answer}");
    let entries = cell.ended().await;
    let (passed, refused) = entries.split_at(count);
    assert!(passed.iter().all(|entry| entry.state != ConnectionState::Refused), "{passed:?}");
    assert!(
        refused.iter().all(|entry| entry.state == ConnectionState::Refused && entry.bytes_up == 0),
        "{refused:?}"
    );
    assert!(refused[0].reason.as_ref().unwrap().contains("asks for cdn.org, not for api.org"));
}

#[tokio::test]
async fn a_tcp_rule_carries_anything_whoever_speaks_first() {
    let (silent, greeting) = (echo(b"").await, echo(b"220 hello\r\n").await);
    let names = Names(vec![("db.internal", vec![ip("127.0.0.1")])]);
    let rules = vec![tcp("db.internal", silent), tcp("db.internal", greeting)];
    let cell = cell(rules, names, |_| {}).await;
    let mut stream = cell.tunnel("db.internal", silent).await;
    assert!(echoed(&mut stream, b"\0\0\0\x08\x04\xd2\x16\x2f").await, "Postgres asks for TLS so");
    let mut stream = cell.tunnel("db.internal", greeting).await;
    let mut hello = [0; 11];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"220 hello\r\n", "before a byte was sent");
    assert!(echoed(&mut stream, b"EHLO x").await);
}

#[tokio::test]
async fn a_silent_cell_is_told_what_the_rule_lacks() {
    let port = echo(b"220 hello\r\n").await;
    let rules = vec![rule("127.0.0.1", port, true)];
    let cell = cell(rules, Names(vec![]), |settings| settings.connect_ms_max = 200).await;
    let mut stream = cell.tunnel("127.0.0.1", port).await;
    assert_eq!(rest(&mut stream).await, b"", "the server's greeting is held back");
    let entries = cell.ended().await;
    assert!(entries[0].reason.as_ref().unwrap().contains("`tcp`"), "{entries:?}");
}

#[tokio::test]
async fn the_public_internet_has_no_inside() {
    let (port, count) = server().await;
    let names = Names(vec![
        ("inside.org", vec![ip("127.0.0.1")]),
        ("metadata.org", vec![ip("169.254.169.254")]),
        ("azure.org", vec![ip("168.63.129.16")]),
        ("mixed.org", vec![ip("93.184.215.14"), ip("10.0.0.1")]),
    ]);
    let any = EgressRule { tcp: true, ..rule("*", EgressRule::ANY_PORT, true) };
    let cell = cell(vec![any], names, |_| {}).await;
    for host in [
        "inside.org",
        "metadata.org",
        "azure.org",
        "mixed.org",
        "127.0.0.1",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "100.64.0.1",
        "0.0.0.0",
    ] {
        let answer = cell.get(host, port).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0, "nothing was dialled");
    // Allowed, and fails only because no such name exists here.
    let answer = cell.get("any-name.example", port).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn the_cluster_s_own_services_stay_closed() {
    let (port, count) = server().await;
    let names = || Names(vec![("nats.internal", vec![ip("127.0.0.1")])]);
    let rules = vec![tcp("127.0.0.1", port), tcp("nats.internal", port), tcp("localhost", port)];
    let cell = cell(rules, names(), |settings| {
        settings.deny_endpoints = vec![format!("nats.internal:{port}")];
    })
    .await;
    for host in ["127.0.0.1", "nats.internal", "[::ffff:127.0.0.1]"] {
        let answer = cell.get(host, port).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(answer.contains("worker.egress.deny_endpoints"), "{answer}");
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn connections_have_a_number_and_a_rate() {
    let port = echo(b"").await;
    let rules = || vec![tcp("127.0.0.1", port)];
    let few = cell(rules(), Names(vec![]), |settings| settings.connections_max = 2).await;
    let mut held = vec![few.tunnel("127.0.0.1", port).await, few.tunnel("127.0.0.1", port).await];
    for _ in 0..40 {
        let answer = few.get("127.0.0.1", port).await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("worker.egress.connections_max"), "{answer}");
    }
    held.pop();
    let again = async {
        while !few.get("127.0.0.1", port).await.starts_with("HTTP/1.1 502") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), again).await.expect("a free place is used");
    let slow = cell(rules(), Names(vec![]), |settings| settings.connections_per_s_max = 3).await;
    for _ in 0..3 {
        slow.tunnel("127.0.0.1", port).await;
    }
    let answer = slow.get("127.0.0.1", port).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("worker.egress.connections_per_s_max"), "{answer}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    slow.tunnel("127.0.0.1", port).await;
    let states: Vec<ConnectionState> = slow.ended().await.iter().map(|entry| entry.state).collect();
    assert_eq!(states.iter().filter(|state| **state == ConnectionState::Refused).count(), 1);
}

#[tokio::test]
async fn bytes_are_paced_not_refused() {
    let port = echo(b"").await;
    let pace = |settings: &mut Config| settings.bytes_per_s_max = 200_000;
    let cell = cell(vec![tcp("127.0.0.1", port)], Names(vec![]), pace).await;
    let mut stream = cell.tunnel("127.0.0.1", port).await;
    let began = Instant::now();
    // 200 kB each way are a second's worth and another second's.
    let data = vec![7_u8; 200_000];
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; data.len()];
    let (sent, got) = tokio::join!(write.write_all(&data), read.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    assert!(back == data);
    let took = began.elapsed().as_secs_f64();
    assert!((0.8..3.0).contains(&took), "{took}");
}

#[tokio::test]
async fn every_connection_is_remembered() {
    let port = echo(b"").await;
    let cell = cell(vec![tcp("127.0.0.1", port)], Names(vec![]), |_| {}).await;
    let mut stream = cell.tunnel("127.0.0.1", port).await;
    assert!(echoed(&mut stream, b"12345").await);
    let open = cell.proxy.ledger().log().entries;
    assert_eq!((open[0].state, open[0].duration_ms), (ConnectionState::Open, None));
    drop(stream);
    cell.get("evil.org", 80).await;
    let entries = cell.ended().await;
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].bytes_up, entries[0].bytes_down), (5, 5));
    assert_eq!(entries[0].state, ConnectionState::Closed);
    assert_eq!((entries[1].host.as_str(), entries[1].port), ("evil.org", 80));
    assert_eq!(entries[1].state, ConnectionState::Refused);
    assert!(entries[1].reason.as_ref().unwrap().contains("no egress rule"));
}

#[tokio::test]
async fn a_tunnel_ends_when_both_sides_have_ended() {
    let port = echo(b"").await;
    let cell = cell(vec![tcp("127.0.0.1", port)], Names(vec![]), |_| {}).await;
    // The client has said all it wants to say before the tunnel stands.
    for said in ["", "all of it"] {
        let mut stream = UnixStream::connect(&cell.socket).await.unwrap();
        let request = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n{said}");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(said), "{answer}");
    }
    assert_eq!(cell.ended().await.len(), 2);
}
