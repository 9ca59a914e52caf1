//! What the cluster depends on: Postgres and NATS, and how they are broken and mended.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::command::Program;
use crate::disk::{self, Disks};
use crate::fault::Server;
use crate::part::Part;
use crate::postgres;

/// A loaded machine is slow, not broken.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const STOP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Servers {
    postgres: Arc<Part>,
    nats: Arc<Part>,
    pub(crate) database: postgres::Setup,
    nats_port: u16,
    nats_store: PathBuf,
    pub(crate) disks: Option<Disks>,
}

/// Where the servers will listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) postgres: u16,
    pub(crate) nats: u16,
}

impl Servers {
    /// Starts both with the secrets that `flowcell init` wrote to `settings`.
    pub(crate) async fn start(
        home: &Path,
        settings: &Path,
        ports: Ports,
        nats: &Path,
        disks: Option<Disks>,
        postgres_settings: &[String],
    ) -> Result<Self> {
        let sees_files_of = disks.as_ref().map(Disks::keeper);
        // The disk itself is not Postgres' own: what fills it lies beside.
        let folder = disk::folder(home, Server::Postgres).join("server");
        let outside = |path: &Path| {
            disks.as_ref().map_or_else(|| path.to_owned(), |disks| disks.outside(path))
        };
        let database = postgres::Setup {
            seen_as: outside(&folder),
            folder,
            port: ports.postgres,
            password: fs::read_to_string(settings.join("postgres/password"))?.trim().to_owned(),
            sees_files_of,
            log: home.join("logs/postgres.log"),
            settings: postgres_settings.to_vec(),
        };
        let postgres = database.start()?;
        let config = settings.join("nats/nats.conf");
        promise_more_than_there_is(&config)?;
        let mut program = Program::new([
            nats.display().to_string(),
            "--config".into(),
            config.display().to_string(),
        ]);
        program.sees_files_of = sees_files_of;
        let nats = Part::start("NATS".to_owned(), program, home.join("logs/nats.log"))?;
        let nats_store = outside(&nats_store(home));
        let servers = Self { postgres, nats, database, nats_port: ports.nats, nats_store, disks };
        servers.wait_postgres().await?;
        servers.wait_nats().await?;
        servers.database.create_database().await?;
        Ok(servers)
    }

    /// The end of a process that nobody asked for, of either.
    pub(crate) fn exits(&self) -> Vec<crate::part::Exit> {
        [self.postgres.exits(), self.nats.exits()].concat()
    }

    pub(crate) fn postgres(&self) -> &Arc<Part> {
        &self.postgres
    }

    pub(crate) fn nats(&self) -> &Arc<Part> {
        &self.nats
    }

    /// Ends both in order.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.nats.stop(STOP_WITHIN).await?;
        self.postgres.finish(Signal::SIGINT, STOP_WITHIN).await?;
        Ok(())
    }

    /// Kills NATS; it comes back after `down`, empty if so wanted.
    pub(crate) async fn kill_nats(&self, down: Duration, store: Store) -> Result<()> {
        self.nats.kill()?;
        if store == Store::Lost {
            fs::remove_dir_all(&self.nats_store).context("losing the store of NATS")?;
        }
        tokio::time::sleep(down).await;
        self.nats.resume()?;
        self.wait_nats().await
    }

    /// Has Postgres end as in a crash; it comes back after `down`.
    pub(crate) async fn crash_postgres(&self, down: Duration) -> Result<()> {
        self.postgres.finish(Signal::SIGQUIT, STOP_WITHIN).await?;
        tokio::time::sleep(down).await;
        self.postgres.resume()?;
        self.wait_postgres().await
    }

    /// Fills a server's disk for a while.
    pub(crate) async fn fill_disk(&self, server: Server, lasts: Duration) -> Result<()> {
        let disks = self.disks.as_ref().context("there are no small disks")?;
        disks.fill(server)?;
        tokio::time::sleep(lasts).await;
        disks.free(server)?;
        // A server that gave up is started again by its service manager.
        match server {
            Server::Postgres => self.wait_postgres().await,
            // After a write that failed, NATS 2.15 writes no more to that stream until it is started
            // again: that is the operator's part of a full disk (docs/OPERATIONS.md).
            Server::Nats => self.kill_nats(Duration::ZERO, Store::Kept).await,
        }
    }

    async fn wait_postgres(&self) -> Result<()> {
        let url = self.database.url("postgres");
        let until = Instant::now() + READY_WITHIN;
        // It accepts connections before it has recovered, and then refuses them again.
        while let Err(error) = sea_orm::Database::connect(&url).await {
            if Instant::now() > until {
                return Err(error).context("Postgres does not answer: see logs/postgres.log");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// A NATS server greets once it is ready for clients.
    async fn wait_nats(&self) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.nats_port));
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let mut greeting = [0; 4];
                let read = stream.read_exact(&mut greeting);
                if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), read).await
                    && &greeting == b"INFO"
                {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("NATS does not answer: see logs/nats.log")
    }
}

/// What becomes of what NATS stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Kept,
    Lost,
}

/// Streams are only made where their largest sizes fit together; on a small disk they never do.
fn promise_more_than_there_is(config: &Path) -> Result<()> {
    let text = fs::read_to_string(config)?;
    let (block, more) = ("jetstream {", "jetstream { max_file_store: 16GB,");
    ensure!(text.contains(block), "{} has no block for JetStream", config.display());
    Ok(fs::write(config, text.replace(block, more))?)
}

/// Where NATS keeps its streams.
pub(crate) fn nats_store(home: &Path) -> PathBuf {
    disk::folder(home, Server::Nats).join("store")
}

/// A port of loopback that nobody has now. Another process may take it before its server does; the
/// drill then fails at its start and says so.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
