//! How a server ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::server::Server;
use crate::skip;

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    // A request whose body never comes holds the drain up for ten seconds.
    let (url, key) = server.credentials();
    let mut request = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /api/v1/flows/ HTTP/1.1\r\nhost: flowcell\r\ncontent-length: 9\r\n";
    let body = "content-type: application/json\r\nexpect: 100-continue\r\n";
    write!(request, "{head}{body}x-api-key: {key}\r\n\r\n").unwrap();
    // It says so as soon as somebody waits for the body.
    let mut answer = [0; 12];
    request.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    server.signal(Signal::SIGTERM);
    server.wait_logged("received SIGTERM, draining");
    // Long enough for a drain that nothing holds up.
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.is_running(), "the drain was not held up");

    let again = Instant::now();
    let status = server.stop();
    assert_eq!(status.code(), Some(1));
    assert!(again.elapsed() < Duration::from_secs(3), "{:?}", again.elapsed());
    server.wait_logged("received a second signal, ending at once");
}
