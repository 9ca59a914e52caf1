//! `flowcell-cluster`: what a cluster costs without its cells.

use std::process::ExitCode;

use clap::Parser as _;
use flowcell_loadtest::cluster;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    match cluster::execute(cluster::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flowcell-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}
