//! The network that a failing barrier would reach: forbidden servers and a lying resolver, all in the
//! suite's own network namespace.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::id::RunId;
use egress::{Policy, Resolve};
use proto::message::EgressRule;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::component::{CANARY, NODE};
use crate::namespace::ip;

const WORLD: &str = include_str!("probes/world.json");
/// Connections that a cell may have at once.
pub(crate) const CONNECTIONS_MAX: u32 = 32;

#[derive(Debug, Deserialize)]
struct Layout {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    allowed: Allowed,
    names: HashMap<String, Vec<IpAddr>>,
    any_other_name: IpAddr,
}

#[derive(Debug, Deserialize)]
struct Allowed {
    name: String,
    address: IpAddr,
    port: u16,
}

fn layout() -> Layout {
    serde_json::from_str(WORLD).unwrap()
}

/// The one destination that is allowed, as `host:port`.
pub(crate) fn allowed() -> String {
    let allowed = layout().allowed;
    format!("{}:{}", allowed.name, allowed.port)
}

/// Servers and resolver.
#[derive(Debug)]
pub(crate) struct World {
    layout: Layout,
    resolver: Arc<Liar>,
    reached: Arc<Mutex<Vec<SocketAddr>>>,
}

impl World {
    /// Gives the namespace its addresses and starts the servers.
    pub(crate) async fn open() -> Self {
        let layout = layout();
        assert!(ip(&["link", "set", "lo", "up"]), "loopback");
        for address in &layout.addresses {
            let address =
                if address.is_ipv6() { format!("{address}/128") } else { format!("{address}/32") };
            // Usable at once: nobody else could have it here.
            let mut arguments = vec!["address", "add", &address, "dev", "lo"];
            arguments.extend(address.contains(':').then_some("nodad"));
            assert!(ip(&arguments), "{address}");
        }
        let world = Self {
            resolver: Arc::new(Liar {
                names: layout.names.clone(),
                asked: Mutex::default(),
                other: layout.any_other_name,
            }),
            layout,
            reached: Arc::default(),
        };
        for port in &world.layout.ports {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await.unwrap();
            let (resolver, reached) = (world.resolver.clone(), world.reached.clone());
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(answer(stream, resolver.clone(), reached.clone()));
                }
            });
        }
        world
    }

    /// The way out of a cell: the allowed host, and names that an attacker has had allowed.
    pub(crate) fn policy(&self) -> Policy {
        let port = self.layout.allowed.port;
        let rule =
            |host: &String| EgressRule { host: host.clone(), port, private: false, tcp: false };
        Policy {
            run: RunId(Uuid::new_v4()),
            cell: NODE.into(),
            rules: self.layout.names.keys().map(rule).collect(),
            settings: egress::Config {
                connections_max: CONNECTIONS_MAX,
                connect_ms_max: 2_000,
                ..egress::Config::default()
            },
            resolver: self.resolver.clone(),
            closed: Arc::default(),
        }
    }

    /// Forbidden servers that were connected to since the last question.
    pub(crate) fn reached(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.reached.lock().unwrap())
    }
}

/// Names as an attacker's server would give them.
#[derive(Debug)]
struct Liar {
    names: HashMap<String, Vec<IpAddr>>,
    other: IpAddr,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Resolve for Liar {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|name| *name == host).count();
        asked.push(host.to_owned());
        let Some(addresses) = self.names.get(host) else { return Ok(vec![self.other]) };
        if host.starts_with("rebind") {
            // Another answer each time.
            return Ok(vec![addresses[before % addresses.len()]]);
        }
        Ok(addresses.clone())
    }
}

async fn answer(
    mut stream: TcpStream,
    resolver: Arc<Liar>,
    reached: Arc<Mutex<Vec<SocketAddr>>>,
) -> Option<()> {
    let here = stream.local_addr().ok()?;
    let address = here.ip().to_canonical();
    let mut buffer = vec![0; 65_536];
    let allowed = layout().allowed;
    let is_allowed = (address, here.port()) == (allowed.address, allowed.port);
    if !is_allowed {
        reached.lock().unwrap().push(SocketAddr::new(address, here.port()));
    }
    let count = stream.read(&mut buffer).await.ok()?;
    let request = String::from_utf8_lossy(&buffer[..count]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, body) = if !is_allowed {
        ("200 OK".to_owned(), format!("{CANARY} at {address}"))
    } else if let Some((_, to)) = path.split_once("/redirect?to=") {
        (format!("302 Found\r\nLocation: {to}"), String::new())
    } else if path.ends_with("/asked") {
        ("200 OK".to_owned(), format!("asked: {}", resolver.asked.lock().unwrap().join(" ")))
    } else {
        ("200 OK".to_owned(), "the allowed server".to_owned())
    };
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.ok()
}
