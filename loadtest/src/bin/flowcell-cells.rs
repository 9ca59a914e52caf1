//! `flowcell-cells`: what a cell costs, on every backend, in one run.

use std::process::ExitCode;

use clap::Parser as _;
use flowcell_loadtest::cells;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    match cells::execute(cells::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flowcell-cells: {error:#}");
            ExitCode::FAILURE
        }
    }
}
