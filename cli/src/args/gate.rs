//! `flowcell docker-gate`.

use std::path::PathBuf;

use clap::Args;
use gate::Config;

/// Its flags; it reads no configuration file, because it has no secret and no setting of others.
#[derive(Debug, Args)]
pub(crate) struct GateArguments {
    /// Where workers connect.
    #[arg(long, value_name = "SOCKET")]
    listen: PathBuf,
    /// The engine's own socket.
    #[arg(long, value_name = "SOCKET", default_value = "/var/run/docker.sock")]
    docker: PathBuf,
    /// Whose containers may be made and touched: `worker.cluster` of the workers.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// Folder for the sockets of cells, at the same path for the engine. A worker's
    /// `worker.socket_dir` is the folder of its user in it.
    #[arg(long, value_name = "DIR")]
    allow_binds: PathBuf,
    /// A user that workers run as (a number). May be repeated; not 0.
    #[arg(long = "user", value_name = "UID", required = true)]
    users: Vec<u32>,
    /// A repository of runner images. May be repeated.
    #[arg(long = "image", value_name = "REPOSITORY", default_value = "flowcell/runner")]
    images: Vec<String>,
    /// An OCI runtime, one of which every container must name. May be repeated. Default: the
    /// engine's own.
    #[arg(long = "oci-runtime", value_name = "NAME")]
    oci_runtimes: Vec<String>,
    /// The folder of `worker.runtimes.wheels`.
    #[arg(long, value_name = "DIR")]
    wheels: Option<PathBuf>,
    /// Most bytes of the packages of one image.
    #[arg(long, value_name = "BYTES", default_value_t = 4 * 1024 * 1024 * 1024)]
    layer_bytes_max: u64,
}

impl GateArguments {
    pub(crate) fn config(self) -> Config {
        Config {
            listen: self.listen,
            docker: self.docker,
            cluster: self.cluster,
            binds: self.allow_binds,
            users: self.users,
            images: self.images,
            oci_runtimes: self.oci_runtimes,
            wheels: self.wheels,
            layer_bytes_max: self.layer_bytes_max,
        }
    }
}
