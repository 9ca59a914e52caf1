//! `flowcell-cell init`: the first process of a cell.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let ended = match command.as_deref() {
        Some("init") => flowcell_zygote::init::run(),
        _ => {
            eprintln!("usage: flowcell-cell init");
            return ExitCode::from(64);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flowcell-cell: {error}");
            ExitCode::FAILURE
        }
    }
}
