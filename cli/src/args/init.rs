//! `flowcell init`: the settings and secrets of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use bus::WorkerUser;
use clap::Args;

/// `flowcell init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The folder to write. What is there is left alone; workers that are missing are added.
    pub(crate) dir: PathBuf,
    /// How many workers of the pool `default` get a user and a folder of their own.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: u32,
    /// Another pool, and how many workers of it get a user and a folder; may be repeated.
    #[arg(long = "pool", value_name = "NAME=WORKERS")]
    pub(crate) pools: Vec<PoolSize>,
    /// Cells that run at the same time on one worker.
    #[arg(long, default_value_t = 4)]
    pub(crate) slots: u32,
    /// The database; its password is generated.
    #[arg(long, default_value = "postgres://flowcell@127.0.0.1:5432/flowcell")]
    pub(crate) postgres: String,
    /// The NATS server, as the processes reach it; default: where the cluster's other processes
    /// reach it, at first nats://127.0.0.1:4222.
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Where the NATS server listens.
    #[arg(long, default_value = "127.0.0.1:4222")]
    pub(crate) nats_listen: SocketAddr,
    /// Where the NATS server keeps its streams.
    #[arg(long, default_value = "/var/lib/nats")]
    pub(crate) nats_store: PathBuf,
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:7860")]
    pub(crate) listen: SocketAddr,
    /// A folder on every worker's host for the sockets of its cells.
    #[arg(long, default_value = "/run/flowcell")]
    pub(crate) socket_dir: PathBuf,
    /// Where a process sees its own folder, when that is not where it is written (a mount).
    #[arg(long)]
    pub(crate) seen_as: Option<PathBuf>,
}

/// A pool and the number of its workers.
#[derive(Clone, Debug)]
pub(crate) struct PoolSize {
    pub(crate) pool: String,
    pub(crate) workers: u32,
}

impl FromStr for PoolSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pool, workers) = text.split_once('=').ok_or("it has the form NAME=WORKERS")?;
        // The server's permissions name it, so it has to be a name there.
        let user = WorkerUser { prefix: "fc".into(), name: "w".into(), pools: vec![pool.into()] };
        if user.permissions().is_err() {
            return Err("a pool is named by 1 to 48 letters, digits and `-`".to_owned());
        }
        let workers = workers.parse().map_err(|_| format!("{workers:?} is no number"))?;
        Ok(Self { pool: pool.to_owned(), workers })
    }
}
