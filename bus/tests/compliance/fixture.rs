//! A bus of each kind, with short leases.

use std::future::Future;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use testkit::nats::Server;

/// Short enough for a test, long enough for a loaded machine.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// Waiting for what surely comes.
pub(crate) const SURELY: Duration = Duration::from_secs(30);

/// Waiting for what surely does not come.
pub(crate) const NEVER: Duration = Duration::from_millis(300);

pub(crate) const QUEUE_MAX: usize = 50;

pub(crate) struct Fixture {
    pub(crate) bus: Bus,
    behind: Behind,
}

enum Behind {
    Memory(tempfile::TempDir),
    Nats(Server),
}

fn memory_settings(dir: &tempfile::TempDir) -> bus::memory::Settings {
    bus::memory::Settings {
        lease: LEASE,
        queue_messages_max: QUEUE_MAX,
        ..bus::memory::Settings::new(dir.path().join("events"))
    }
}

pub(crate) fn nats_settings(server: &Server) -> bus::nats::Settings {
    bus::nats::Settings {
        lease: LEASE,
        queue_messages_max: QUEUE_MAX,
        events_bytes_max: 256 * 1024 * 1024,
        ..bus::nats::Settings::new(server.url())
    }
}

pub(crate) async fn memory() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture { bus: bus::memory(memory_settings(&dir)).await.unwrap(), behind: Behind::Memory(dir) }
}

pub(crate) async fn nats() -> Fixture {
    let server = Server::start().await.unwrap();
    Fixture { bus: bus::nats(nats_settings(&server)).await.unwrap(), behind: Behind::Nats(server) }
}

impl Fixture {
    /// What a second process would use: another connection, or, where there is only one process,
    /// the same bus.
    pub(crate) async fn other(&self) -> Bus {
        match &self.behind {
            Behind::Memory(_) => self.bus.clone(),
            Behind::Nats(server) => bus::nats(nats_settings(server)).await.unwrap(),
        }
    }

    /// Kills what keeps the logs and starts it again; the bus to go on with.
    pub(crate) async fn restart(&mut self) {
        match &mut self.behind {
            Behind::Memory(dir) => {
                self.bus.close().await;
                self.bus = bus::memory(memory_settings(dir)).await.unwrap();
            }
            Behind::Nats(server) => server.restart().await.unwrap(),
        }
    }

    /// Whether readers outlive a restart.
    pub(crate) fn readers_survive(&self) -> bool {
        matches!(self.behind, Behind::Nats(_))
    }
}

/// The result of what surely comes.
pub(crate) async fn surely<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SURELY, what).await.expect("it takes too long")
}

/// Bytes that differ by seed and place.
pub(crate) fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}
