//! A proxy and the cell in front of it: what a cell writes, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use domain::id::RunId;
use flowcell_egress::{Closed, Config, Policy, Proxy};
use proto::connection::{Connection, ConnectionState};
use proto::message::EgressRule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::world::Names;

pub(crate) struct Cell {
    pub(crate) socket: std::path::PathBuf,
    pub(crate) proxy: Proxy,
    _dir: tempfile::TempDir,
}

pub(crate) async fn cell(
    rules: Vec<EgressRule>,
    names: Names,
    change: impl FnOnce(&mut Config),
) -> Cell {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("egress.sock");
    let mut settings = Config { connect_ms_max: 2_000, ..Config::default() };
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
