//! `flowcell drill`.

use std::path::PathBuf;

use clap::Args;

/// `flowcell drill`.
#[derive(Debug, Args)]
pub(crate) struct DrillArguments {
    /// What the faults' order, targets and lengths are made from; default: a new one, which is told.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many faults to make; default: every kind that can be made here, once.
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    pub(crate) faults: Option<usize>,
    /// For how long to make faults, instead of how many.
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<u64>,
    /// Most faults at the same time.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=6))]
    pub(crate) at_once: u8,
    /// Runs to submit in a minute. Each has four cells.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=6000))]
    pub(crate) runs_per_minute: u32,
    /// A new or empty folder for data, settings and logs, which is kept; default: a temporary one,
    /// which is kept when a promise was broken.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Write the report here: Markdown, or JSON for a name that ends in `.json`. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Vec<PathBuf>,
    /// The NATS server; default: `nats-server` on PATH.
    #[arg(long, env = "FLOWCELL_NATS_SERVER", value_name = "PROGRAM")]
    pub(crate) nats_server: Option<PathBuf>,
    /// The engine.
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock")]
    pub(crate) docker_host: String,
    /// The image of the cells.
    #[arg(long, value_name = "NAME", default_value = "flowcell/runner:lfx-1.13")]
    pub(crate) image: String,
    /// Another build of flowcell, as a rule the one before this: half of the processes begin as it,
    /// and processes are replaced by the other build, both ways.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) beside: Option<PathBuf>,
    /// Start a container engine for the second worker, and kill it. Needs root, dockerd, and a few
    /// gigabytes and a minute for a copy of the image.
    #[arg(long)]
    pub(crate) engine: bool,
    /// Do not set clocks, which needs libfaketime.
    #[arg(long)]
    pub(crate) no_clocks: bool,
    /// Do not fill disks, which needs root and memory for small ones.
    #[arg(long)]
    pub(crate) no_disks: bool,
}
