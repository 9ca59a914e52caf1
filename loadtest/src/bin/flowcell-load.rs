//! `flowcell-load`: the load generator.

use std::process::ExitCode;

use clap::Parser as _;
use flowcell_loadtest::load;

/// EX_USAGE of sysexits.h: what was asked for makes no sense.
const EXIT_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = match load::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            return error.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code));
        }
    };
    let task = match cli.task() {
        Ok(task) => task,
        Err(error) => {
            eprintln!("flowcell-load: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match load::execute(task).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flowcell-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
