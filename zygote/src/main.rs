//! `flowcell-cell init`: the first process of a cell that an engine has made.
//! `flowcell-cell launch OWNER`: makes cells itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (command, owner) = (arguments.next(), arguments.next());
    let ended = match (command.as_deref(), owner) {
        (Some("init"), None) => flowcell_zygote::init::run(),
        (Some("launch"), Some(owner)) => flowcell_zygote::launch::run(&owner),
        _ => {
            eprintln!("usage: flowcell-cell init | launch OWNER");
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
