//! `flowcell-model`: the scripted model server.

use std::process::ExitCode;

use clap::Parser as _;
use flowcell_loadtest::model;

/// EX_USAGE of sysexits.h: what was asked for makes no sense.
const EXIT_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = match model::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            return error.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code));
        }
    };
    let config = match cli.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("flowcell-model: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match model::run(&cli, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flowcell-model: {error:#}");
            ExitCode::FAILURE
        }
    }
}
