//! A reader that does not read.

use std::time::Duration;

use domain::id::RunId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::cluster::Cluster;
use crate::subscriber::{Subscriber, Way};

const PADDING: usize = 64 * 1024;
/// More than the buffers of both sides' kernels hold.
const NUMBERS: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_cut_off_and_can_come_back() {
    let cluster = Cluster::start().await;
    cluster.make_flow().await;
    let run = cluster.run().await;
    let mut stalled = stall(&cluster, run).await;
    for first in (1..=NUMBERS).step_by(10) {
        cluster.publish(run, first..first + 10, PADDING).await;
    }
    cluster.end(run).await;
    // A reader beside it is not held up by it.
    let mut beside = Subscriber::new(&cluster, run, Way::Sse, 1);
    beside.read_to_end(NUMBERS).await;
    while cluster.open_streams().await > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut got = Vec::new();
    // Cut off, not ended in order: no last chunk, so no client takes it for the end.
    let ended = stalled.read_to_end(&mut got).await;
    assert!(ended.is_err() || !got.ends_with(b"0\r\n\r\n"), "it was let read on");
    let position = last_whole(&got);
    assert!((1..NUMBERS).contains(&position), "{position}");
    let mut again = Subscriber::new(&cluster, run, Way::WebSocket, 2);
    again.position = position;
    again.read_to_end(NUMBERS).await;
    assert_eq!(again.position, NUMBERS + 1);
}

async fn stall(cluster: &Cluster, run: RunId) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = &cluster.addresses[0];
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let key = &cluster.key;
    let request = format!(
        "GET /api/flowcell/v1/runs/{run}/events HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Position of the last event that came whole.
fn last_whole(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let events = text.split("\n\n").filter(|event| event.contains("\ndata: "));
    let positions = events.filter_map(|event| {
        let line = event.lines().find_map(|line| line.strip_prefix("id: "))?;
        line.parse::<u64>().ok()
    });
    let positions: Vec<u64> = positions.collect();
    // The last one may be torn.
    positions.len().checked_sub(2).map_or(0, |index| positions[index])
}
