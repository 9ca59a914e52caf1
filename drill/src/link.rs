//! A connection that can be troubled: a TCP proxy in this process.
//!
//! Bytes that arrive while the link is silent are kept and delivered afterwards, as after a
//! network partition that ends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fault::Trouble;

/// How late every piece is on a slow link: a bad day between two continents.
const SLOW: Duration = Duration::from_millis(150);

const BUFFER_BYTES: usize = 16 * 1024;

type State = Option<Trouble>;

/// A link from one process to one server.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
}

impl Link {
    /// Listens on a port of its own until it is dropped.
    pub(crate) async fn open(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a proxy")?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(None);
        tokio::spawn(accept(listener, server, watched));
        Ok(Self { address, state })
    }

    /// Where the process connects to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Troubles the link, or heals it.
    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, mut state: watch::Receiver<State>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closed(&mut state) => return,
        };
        let Ok((client, _)) = accepted else { continue };
        if *state.borrow() == Some(Trouble::Cut) {
            reset(&client);
            continue;
        }
        tokio::spawn(splice(client, server, state.clone()));
    }
}

/// Returns once the link was dropped.
async fn closed(state: &mut watch::Receiver<State>) {
    while state.changed().await.is_ok() {}
}

/// A reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // A client that is gone needs none.
    let _ = stream.set_zero_linger();
}

async fn splice(client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    if passes(&mut state).await.is_err() {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(server).await else { return reset(&client) };
    // Latency is what `SLOW` says and nothing else.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let (mut up, mut down) = (state.clone(), state.clone());
    tokio::select! {
        () = copy(from_client, to_server, &mut up) => {}
        () = copy(from_server, to_client, &mut down) => {}
    }
}

/// Ends when one side ends or the link is cut.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &mut watch::Receiver<State>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = cut(state) => return,
        };
        let Ok(count @ 1..) = read else { return };
        let Some(piece) = buffer.get(..count) else { return };
        if passes(state).await.is_err() || to.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// The link was cut.
struct IsCut;

/// Returns once bytes may pass.
async fn passes(state: &mut watch::Receiver<State>) -> Result<(), IsCut> {
    loop {
        let now = *state.borrow_and_update();
        match now {
            None => return Ok(()),
            Some(Trouble::Cut) => return Err(IsCut),
            Some(Trouble::Slow) => {
                tokio::time::sleep(SLOW).await;
                return Ok(());
            }
            Some(Trouble::Silent) => state.changed().await.map_err(|_| IsCut)?,
        }
    }
}

/// Returns once the link is cut.
async fn cut(state: &mut watch::Receiver<State>) {
    let is_cut = |state: &State| *state == Some(Trouble::Cut);
    // A dropped link is cut too.
    let _ = state.wait_for(is_cut).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every byte with itself, and a client on a link to it.
    async fn echo() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let link = Link::open(server).await.unwrap();
        let client = TcpStream::connect(link.address()).await.unwrap();
        (link, client)
    }

    async fn answer(client: &mut TcpStream) -> std::io::Result<u8> {
        client.read_u8().await
    }

    #[tokio::test]
    async fn a_healthy_link_passes_bytes_on() {
        let (_link, mut client) = echo().await;
        client.write_u8(7).await.unwrap();
        assert_eq!(answer(&mut client).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_refuses_new_ones() {
        let (link, mut client) = echo().await;
        client.write_u8(7).await.unwrap();
        answer(&mut client).await.unwrap();
        link.set(Some(Trouble::Cut));
        assert!(answer(&mut client).await.is_err(), "it ended");
        let mut second = TcpStream::connect(link.address()).await.unwrap();
        assert!(answer(&mut second).await.is_err(), "it is refused");
        link.set(None);
        let mut third = TcpStream::connect(link.address()).await.unwrap();
        third.write_u8(8).await.unwrap();
        assert_eq!(answer(&mut third).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn what_was_held_back_arrives_after_the_silence() {
        let (link, mut client) = echo().await;
        client.write_u8(1).await.unwrap();
        assert_eq!(answer(&mut client).await.unwrap(), 1);
        link.set(Some(Trouble::Silent));
        client.write_u8(2).await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(300), answer(&mut client)).await;
        assert!(silence.is_err(), "nothing comes through");
        link.set(None);
        assert_eq!(answer(&mut client).await.unwrap(), 2);
    }
}
