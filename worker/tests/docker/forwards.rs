//! Plain TCP through the forwards: components that know nothing of proxies.

use std::sync::Arc;

use flowcell_worker::config::Backend;
use proto::frame::Task;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::real::{image, limits, real_resolving};
use crate::world::{Names, ip, tcp};

/// A component that connects to the destinations in its input, as libraries do that know nothing
/// of proxies: `host:port:pg` begins as a Postgres client, `host:port:greeting` waits.
const DIAL: &str = r#"
import socket, struct
from langflow.custom import Component
from langflow.io import MessageTextInput, Output
from langflow.schema.message import Message

def dial(host, port, how):
    with socket.create_connection((host, int(port)), timeout=5) as stream:
        stream.settimeout(5)
        if how == "pg":
            body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
            stream.sendall(struct.pack("!i", len(body) + 4) + body)
            return "postgres " + stream.recv(1).decode()
        return stream.makefile().readline().strip()

class Fetch(Component):
    display_name = "Fetch"
    name = "Fetch"
    inputs = [MessageTextInput(name="input_value", display_name="Input")]
    outputs = [Output(display_name="Out", name="output", method="build_output")]

    def build_output(self) -> Message:
        said = []
        for destination in self.input_value.split():
            host, port, how = destination.split(":")
            try:
                said.append(socket.gethostbyname(host) + " " + dial(host, port, how))
            except OSError as error:
                said.append(type(error).__name__)
        return Message(text="; ".join(said))
"#;

/// Greets, as mail and MySQL servers do.
async fn greeting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"220 hello\r\n").await;
        }
    });
    port
}

async fn splice(mut client: TcpStream, server: String, folder: Option<String>) {
    let _ = match folder {
        Some(folder) => {
            let path = format!("{folder}/.s.PGSQL.5432");
            let mut to = UnixStream::connect(path).await.unwrap();
            tokio::io::copy_bidirectional(&mut client, &mut to).await
        }
        None => {
            let mut to = TcpStream::connect(server).await.unwrap();
            tokio::io::copy_bidirectional(&mut client, &mut to).await
        }
    };
}

/// A port of loopback for the test's Postgres, which may listen on a Unix socket only.
async fn on_tcp(url: &str) -> u16 {
    let server = url.split('@').next_back().unwrap().split(['/', '?']).next().unwrap().to_owned();
    let folder = url.split_once("?host=").map(|(_, folder)| folder.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(splice(client, server.clone(), folder.clone()));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_knows_no_proxy_reaches_its_database() {
    dials(Backend::Warm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forked_component_that_knows_no_proxy_reaches_its_database() {
    dials(Backend::Zygote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_component_that_knows_no_proxy_reaches_its_database() {
    dials(Backend::Native).await;
}

async fn dials(backend: Backend) {
    let database = testkit::database::Database::postgres().await.unwrap();
    let postgres = on_tcp(database.url()).await;
    let mail = greeting().await;
    let names = Names(vec![
        ("pg.internal", vec![ip("127.0.0.1")]),
        ("mail.internal", vec![ip("127.0.0.1")]),
        ("other.internal", vec![ip("127.0.0.1")]),
        ("localhost", vec![ip("127.0.0.1")]),
    ]);
    let Some(cluster) = real_resolving(Arc::new(names), backend).await else { return };
    let text = include_str!("../fixtures/fetch_task.json").replace(
        "\"URL\"",
        &format!(
            "\"pg.internal:{postgres}:pg mail.internal:{mail}:greeting localhost:{mail}:greeting \
             other.internal:{mail}:greeting mail.internal:1:greeting\""
        ),
    );
    let mut task: Task = serde_json::from_str(&text).unwrap();
    task.graph["nodes"][0]["data"]["node"]["template"]["code"]["value"] = DIAL.into();
    let mut assignment = cluster.assignment("", "");
    assignment.image = image();
    assignment.limits = limits();
    assignment.egress =
        vec![tcp("pg.internal", postgres), tcp("mail.internal", mail), tcp("localhost", mail)];
    assignment.egress.push(tcp("closed.internal", 1));
    assignment.task = Task { run_id: assignment.attempt.run, ..task };
    let attempt = assignment.attempt;
    let (outcome, _) = cluster.run(assignment).await;
    let proto::message::ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
    let output = serde_json::to_string(&result.nodes["Fetch-aaaaa"].outputs).unwrap();
    // `R` asks for authentication. A name that no rule opens does not resolve; a port of a known
    // name that no rule opens has no listener.
    let expected = "127.1.0.1 postgres R; 127.1.0.2 220 hello; 127.0.0.1 220 hello; gaierror; \
                    ConnectionRefusedError";
    assert!(output.contains(expected), "{output}");
    let told = cluster.connections(attempt).await;
    let hosts: Vec<&str> = told.iter().map(|entry| entry.host.as_str()).collect();
    assert_eq!(hosts, ["pg.internal", "mail.internal", "localhost"]);
    assert!(told.iter().all(|entry| entry.bytes_down > 0), "{told:?}");
    cluster.stop().await;
}
