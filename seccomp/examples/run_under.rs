//! `run_under COMMAND…`: becomes the command, under the filter.
//!
//! For trying a program: `census/replay` runs the component suite with it.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: run_under COMMAND…");
        return ExitCode::from(64);
    };
    if let Err(error) = flowcell_seccomp::install() {
        eprintln!("run_under: installing the filter: {error}");
        return ExitCode::from(71);
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("run_under: {}: {error}", program.display());
    ExitCode::from(127)
}
