//! A reader that is cut off again and again, and comes back on another replica.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use domain::id::RunId;
use futures::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::cluster::Cluster;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sse,
    WebSocket,
}

impl Way {
    pub(crate) fn of(index: usize) -> Self {
        if index.is_multiple_of(2) { Self::Sse } else { Self::WebSocket }
    }
}

/// Reads one run's log, on connections that end at random points.
pub(crate) struct Subscriber {
    cluster: Arc<Cluster>,
    run: RunId,
    way: Way,
    rng: StdRng,
    /// Position of the last event.
    pub(crate) position: u64,
    pub(crate) connections: u32,
    pub(crate) ended: bool,
    open: Option<Connection>,
}

/// What a connection gives next; nothing when it has ended, in order or not.
type Item = Option<(u64, Value)>;

pub(crate) enum Connection {
    Sse(Sse),
    WebSocket(Box<WebSocket>),
}

type WebSocket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

impl Subscriber {
    pub(crate) fn new(cluster: &Arc<Cluster>, run: RunId, way: Way, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let cluster = Arc::clone(cluster);
        Self { cluster, run, way, rng, position: 0, connections: 0, ended: false, open: None }
    }

    /// Reads this many events at most, and stays connected.
    pub(crate) async fn read(&mut self, events: u64) {
        for _ in 0..events {
            if self.ended {
                return;
            }
            match self.next().await {
                Some((position, event)) => self.check(position, &event),
                // The end of a stream is not the end of the run: a client comes back.
                None => self.open = None,
            }
        }
    }

    /// Reads to the end, cut off at random points.
    pub(crate) async fn read_to_end(&mut self, longest: u64) {
        while !self.ended {
            let until_cut = self.rng.random_range(1..=longest);
            self.read(until_cut).await;
            self.open = None;
        }
    }

    /// Every event once, in order, and what was published at its position.
    fn check(&mut self, position: u64, event: &Value) {
        assert_eq!(position, self.position + 1, "{:?} missed or repeated an event", self.way);
        self.position = position;
        match event["type"].as_str().unwrap() {
            "langflow" => assert_eq!(event["data"]["number"], position, "not what was published"),
            "run.cancelled" => self.ended = true,
            other => panic!("nobody published {other}"),
        }
    }

    async fn next(&mut self) -> Item {
        if self.open.is_none() {
            while self.open.is_none() {
                self.open = self.connect().await;
            }
            self.connections += 1;
        }
        match self.open.as_mut().unwrap() {
            Connection::Sse(stream) => stream.next().await,
            Connection::WebSocket(socket) => next_frame(socket).await,
        }
    }

    /// A connection, or none from a replica that is too busy to say what it has.
    async fn connect(&mut self) -> Option<Connection> {
        let replica = self.rng.random_range(0..self.cluster.addresses.len());
        match self.way {
            Way::Sse => {
                let path = format!("/api/flowcell/v1/runs/{}/events", self.run);
                let by_header = self.rng.random_bool(0.5);
                let sse = Sse::open(&self.cluster, replica, &path, self.position, by_header);
                Some(Connection::Sse(sse.await?))
            }
            Way::WebSocket => {
                let host = &self.cluster.addresses[replica];
                let (run, after) = (self.run, self.position);
                let url = format!("ws://{host}/api/flowcell/v1/runs/{run}/ws?after={after}");
                let mut request = url.into_client_request().unwrap();
                request.headers_mut().insert("x-api-key", self.cluster.key.parse().unwrap());
                let (socket, _) = match tokio_tungstenite::connect_async(request).await {
                    Err(Error::Http(answer)) if answer.status() == 503 => return None,
                    connected => connected.unwrap(),
                };
                Some(Connection::WebSocket(Box::new(socket)))
            }
        }
    }
}

/// A stream of Server-Sent Events.
pub(crate) struct Sse {
    answer: reqwest::Response,
    buffer: BytesMut,
}

impl Sse {
    pub(crate) async fn open(
        cluster: &Cluster,
        replica: usize,
        path: &str,
        after: u64,
        by_header: bool,
    ) -> Option<Self> {
        let request = match by_header {
            true => cluster.get(replica, path).header("last-event-id", after.to_string()),
            false => cluster.get(replica, &format!("{path}?after={after}")),
        };
        let answer = request.send().await.unwrap();
        if answer.status() == 503 {
            return None;
        }
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        Some(Self { answer, buffer: BytesMut::new() })
    }

    async fn next(&mut self) -> Item {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event = self.buffer.split_to(end);
                self.buffer.advance(2);
                if let Some(item) = parse(std::str::from_utf8(&event).unwrap()) {
                    return Some(item);
                }
                continue;
            }
            let piece = self.answer.chunk().await.ok()??;
            self.buffer.extend_from_slice(&piece);
        }
    }
}

/// An event; a comment is none.
fn parse(event: &str) -> Item {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let position = field("id: ")?.parse().unwrap();
    Some((position, serde_json::from_str(field("data: ").unwrap()).unwrap()))
}

async fn next_frame(socket: &mut WebSocket) -> Item {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                return Some((frame["seq"].as_u64().unwrap(), frame["event"].clone()));
            }
            Message::Ping(_) => socket.flush().await.ok()?,
            Message::Close(_) => return None,
            other => panic!("{other:?}"),
        }
    }
}
