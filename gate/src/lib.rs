//! A Docker socket for workers that lets through what cells need, and nothing else.
//!
//! ```text
//! worker ── HTTP on the gate's socket ──▶ who asks? ─ which call? ─ whose container? ─ which body?
//!                                             │ anything unknown: 403 that names the rule
//!                                             ▼
//!                           written anew, from what was understood ──▶ Docker's own socket
//! ```
//! Nothing of a request is passed on as it came: path, query and body are read into types that know
//! only what is allowed, and written again from these. So the engine cannot read anything into them
//! that was not checked. `slots` says why the folders that cells see are moved.

mod body;
mod containers;
mod create;
mod engine;
mod images;
mod peer;
mod proxy;
mod refusal;
mod route;
mod serve;
mod slots;

use std::io;
use std::path::PathBuf;

pub use refusal::Refusal;
pub use serve::Gate;

/// What the gate is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where workers connect.
    pub listen: PathBuf,
    /// The engine's own socket.
    pub docker: PathBuf,
    /// Whose containers may be made and touched: `worker.cluster` of the workers.
    pub cluster: String,
    /// The folder below which workers keep what cells see. The engine knows it by the same path.
    pub binds: PathBuf,
    /// The users that workers run as. Each gets a folder of its own below `binds`.
    pub users: Vec<u32>,
    /// Repositories of runner images.
    pub images: Vec<String>,
    /// OCI runtimes, one of which cells must name. Empty: the engine's own, and no other.
    pub oci_runtimes: Vec<String>,
    /// A folder of wheels that builds may see.
    pub wheels: Option<PathBuf>,
    /// Most bytes of a layer of packages.
    pub layer_bytes_max: u64,
}

/// Why a gate cannot be opened or goes on no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it was told cannot work.
    #[error("{0}")]
    Config(String),
    /// A file, folder or socket.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
