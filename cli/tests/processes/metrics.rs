//! The metrics of a process that has all parts: documented, and what dashboards and alerts ask for.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::server::Server;
use crate::skip;

const PATIENCE: Duration = Duration::from_secs(30);

/// Beside this crate.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Names of samples, and with what `# TYPE` calls them.
fn exposed(text: &str) -> BTreeSet<(String, String)> {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let name = |line: &str| {
        let (name, kind) = line.split_once(' ').unwrap();
        match kind {
            "counter" => (format!("{name}_total"), kind.to_owned()),
            _ => (name.to_owned(), kind.to_owned()),
        }
    };
    typed.map(name).collect()
}

/// Everything in a text that looks like the name of a metric, without a histogram's endings.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    let names = words.filter(|word| word.starts_with("flowcell_"));
    let plain = |name: &str| {
        let ending =
            ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
        ending.unwrap_or(name).to_owned()
    };
    names.map(plain).collect()
}

#[test]
fn every_metric_is_documented_and_every_one_that_is_asked_for_exists() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let admin = free.local_addr().unwrap().to_string();
    drop(free);
    let mut server = Server::start_with(home.path(), &format!("admin = \"{admin}\""));
    let (url, _) = server.credentials();
    // The first request makes the counts of requests.
    get(url.strip_prefix("http://").unwrap(), "/health");
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = get(&admin, "/metrics");
        // The first look at the database comes soon after the start.
        if text.contains("flowcell_tasks_ready{") {
            break text;
        }
        assert!(Instant::now() < until, "what waits was never counted: {text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(text.contains("application/openmetrics-text") && text.ends_with("# EOF\n"), "{text}");

    let exposed: BTreeSet<String> = exposed(&text).into_iter().map(|(name, _)| name).collect();
    let documented = named(&fs::read_to_string(repository().join("docs/OPERATIONS.md")).unwrap());
    let missing: Vec<_> = exposed.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md says nothing of {missing:?}");
    for file in fs::read_dir(repository().join("deploy/observability")).unwrap() {
        let path = file.unwrap().path();
        let unknown: Vec<String> = named(&fs::read_to_string(&path).unwrap())
            .into_iter()
            .filter(|name| !exposed.contains(name))
            .collect();
        assert!(unknown.is_empty(), "{} asks for {unknown:?}", path.display());
    }
    assert_eq!(server.stop().code(), Some(0));
}
