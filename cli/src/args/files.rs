//! `flowcell files`.

use std::path::PathBuf;

use clap::Subcommand;

use super::ClientArguments;

/// `flowcell files`.
#[derive(Debug, Subcommand)]
pub(crate) enum FilesCommand {
    /// Upload files; prints the path by which a flow names each.
    #[command(after_help = "Examples:
  flowcell files upload notes.txt table.csv
  flowcell run read --input x --tweak \"File.path=[\\\"$(flowcell files upload notes.txt)\\\"]\"")]
    Upload {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Add to the file that has the name already.
        #[arg(long)]
        append: bool,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// List your files.
    List {
        #[command(flatten)]
        client: ClientArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a file's content to standard output, or to a file.
    #[command(after_help = "Example: flowcell files download notes -o notes.txt")]
    Download {
        /// Id, name or path.
        file: String,
        /// Where to write it.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Delete files.
    Delete {
        /// Ids, names or paths.
        #[arg(required = true)]
        files: Vec<String>,
        #[command(flatten)]
        client: ClientArguments,
    },
}
