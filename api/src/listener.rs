//! Connections that do not wait for ever for a client to read.
//!
//! A stream that is over, or that its writer gave up, leaves nothing behind only once its
//! connection ends; and a connection whose client takes no bytes never notices either.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// Accepts connections for the API.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) listener: TcpListener,
    /// A client that takes no byte for this long, while there are some for it, is cut off.
    pub(crate) patience: Duration,
}

impl Listener for Patient {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Tokens are small, and each is to arrive when it is written. Without it they only do later.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.patience));
        (Box::pin(stream), address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
