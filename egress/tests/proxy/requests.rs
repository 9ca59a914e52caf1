//! What is forwarded, what is refused, and where a cell's limits end it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::connection::{Connection, ConnectionState};
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::cell::cell;
use crate::world::{Names, ip, rule, server, tcp};

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
async fn an_answer_keeps_the_order_of_its_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = "HTTP/1.1 302 Found\r\nConnection: close\r\nDate: today\r\nContent-Length: 0\r\n\
                    Location: /there\r\nServer: it\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    let cell = cell(vec![rule("127.0.0.1", port, true)], Names(vec![]), |_| {}).await;
    let answer = cell.get("127.0.0.1", port).await;
    let names: Vec<&str> =
        answer.lines().skip(1).filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(names[..4], ["date", "content-length", "location", "server"], "{answer}");
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
