//! A run's events over a WebSocket, through a real listener and a client of 40 lines.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::scheduler::Script;
use super::world::World;

/// A server's frame: its opcode and payload.
type Frame = (u8, Vec<u8>);

const CLOSE: u8 = 8;
const PONG: u8 = 10;

struct Client(BufReader<TcpStream>);

impl Client {
    /// Asks for an upgrade; gives the status code.
    async fn connect(address: std::net::SocketAddr, path: &str, key: &str) -> (Self, u16) {
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut line, mut status) = (String::new(), 0);
        while stream.read_line(&mut line).await.unwrap() > 2 {
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            line.clear();
        }
        (Self(stream), status)
    }

    async fn frame(&mut self) -> Frame {
        let opcode = self.0.read_u8().await.unwrap() & 0x0f;
        let length = match self.0.read_u8().await.unwrap() {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.unwrap();
        (opcode, payload)
    }

    /// Sends a frame; a client's is masked, here with zeros.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// All text frames until the close, and its code.
    async fn rest(&mut self) -> (Vec<Value>, u16) {
        let mut texts = Vec::new();
        loop {
            match self.frame().await {
                (1, text) => texts.push(serde_json::from_slice(&text).unwrap()),
                (CLOSE, payload) => return (texts, u16::from_be_bytes([payload[0], payload[1]])),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn frames_carry_position_and_event_until_a_normal_close() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = Script::default().play(&world);
    let run = world.start("echo").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(world.api.clone().serve(listener, stop.clone()));
    let path = format!("/api/flowcell/v1/runs/{run}/ws");
    let (mut client, status) = Client::connect(address, &path, &world.admin.key).await;
    assert_eq!(status, 101);
    let (frames, code) = client.rest().await;
    assert_eq!(code, 1000);
    let positions: Vec<u64> = frames.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5]);
    assert_eq!(frames[4]["event"], json!({"at": 1_700_000_000_000_i64, "type": "run.completed"}));
    let (mut client, _) =
        Client::connect(address, &format!("{path}?after=4"), &world.admin.key).await;
    assert_eq!(client.rest().await.0.len(), 1);
    let (_, status) = Client::connect(address, &path, &world.other.key).await;
    assert_eq!(status, 404);
    let plain = world.get(&path).await;
    assert_eq!(plain.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", plain.body);
    stop.cancel();
    serving.await.unwrap().unwrap();
}

/// A server that closes while a pong of the client is under way resets the connection, and the
/// client loses what it has not read yet. So the server waits for the client's close.
#[tokio::test]
async fn a_client_that_still_talks_is_not_reset() {
    let world = World::new().await;
    world.echo_flow().await;
    let _player = Script::default().play(&world);
    let run = world.start("echo").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(world.api.clone().serve(listener, stop.clone()));
    let path = format!("/api/flowcell/v1/runs/{run}/ws");
    let (mut client, _) = Client::connect(address, &path, &world.admin.key).await;
    assert_eq!(client.rest().await.1, 1000, "the server has said all and closed");

    client.send(PONG, b"late").await;
    let silence = tokio::time::timeout(Duration::from_millis(300), client.0.read_u8()).await;
    assert!(silence.is_err(), "it did not wait for the client's close: {silence:?}");
    client.send(PONG, b"later").await;
    client.send(CLOSE, &1000u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.expect("an orderly end, no reset");
    assert!(rest.is_empty(), "{rest:?}");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
