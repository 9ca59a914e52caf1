//! The `flowcell` command.

// They panic when nobody reads: `output` says what is to be said.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod client;
mod command;
mod credentials;
mod exit;
mod open_files;
mod output;
mod settings;
mod sse;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    open_files::take_all();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::from_error(&error.into()).into(),
    };
    // The future of a whole server is large: it lives on the heap.
    let ended = runtime.block_on(Box::pin(command::execute(arguments)));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended.unwrap_or_else(|error| Exit::from_error(&error)).into()
}
