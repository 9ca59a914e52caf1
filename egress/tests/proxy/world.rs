//! Where a proxy under test leads to: rules, names and a server. The worker's tests use it too.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use egress::Resolve;
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
