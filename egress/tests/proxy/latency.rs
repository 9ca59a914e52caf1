//! What the way out costs a streamed answer, each chunk: the runner's bridge and the proxy
//! together, beside a direct connection, in one run. Prints figures; run it alone:
//!
//! ```text
//! cargo nextest run -p flowcell-egress --release --run-ignored only a_streamed_chunk --no-capture
//! ```

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::cell::cell;
use crate::world::{Names, ip, tcp};

const CHUNKS: usize = 1_000;
const EVERY: Duration = Duration::from_millis(10);

const BRIDGE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../runner/src/flowcell_runner/egress.py");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stream_client.py");

/// A model server whose tokens say when they were sent.
async fn model() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut offset = Duration::ZERO;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // Streams do not speak at the same moment: none waits for another's work.
            offset += Duration::from_micros(3_300);
            let delay = offset;
            tokio::spawn(async move {
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                tokio::time::sleep(delay).await;
                let mut tick = tokio::time::interval(EVERY);
                for _ in 0..CHUNKS {
                    tick.tick().await;
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
                    // As long as a chunk of a chat completion.
                    let chunk = format!("data: {now}\n: {}\n\n", "x".repeat(200));
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_streamed_chunk_loses_little_time() {
    let port = model().await;
    let names = Names(vec![("model.internal", vec![ip("127.0.0.1")])]);
    let rules = vec![tcp("model.internal", port), tcp("127.0.0.1", port)];
    let cell = cell(rules, names, |_| {}).await;
    let mut client = tokio::process::Command::new("python3");
    client.arg(CLIENT).arg(BRIDGE).arg(&cell.socket);
    client.args([port.to_string(), port.to_string(), CHUNKS.to_string()]);
    let output = client.stderr(Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success());
    let ways: BTreeMap<String, Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();
    let at = |name: &str, part: f64| {
        let mut sorted = ways[name].clone();
        assert_eq!(sorted.len(), CHUNKS, "{name}");
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * part) as usize]
    };
    println!("milliseconds from server to client, {CHUNKS} chunks each, one every 10 ms");
    println!("{:<12} {:>7} {:>7} {:>7}", "", "p50", "p95", "p99");
    for name in ["direct", "http proxy", "tcp forward"] {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| at(name, part));
        println!("{name:<12} {p50:>7.3} {p95:>7.3} {p99:>7.3}");
    }
    for name in ["http proxy", "tcp forward"] {
        let added = at(name, 0.5) - at("direct", 0.5);
        assert!(added < 2.0, "{name} adds {added} ms to the median chunk");
    }
}
