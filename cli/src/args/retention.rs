//! `flowcell retention`.

use clap::Subcommand;

use super::{ClientArguments, OfTenant};

/// `flowcell retention`.
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show how long runs are kept.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Set how long runs are kept; what is not named stays as it is. Takes a superuser.
    #[command(after_help = "Examples:
  flowcell retention set --runs-days 30
  flowcell retention set --runs-days 0                keep runs for ever
  flowcell retention set --runs-days 7 --messages true")]
    Set {
        /// Days from the end of a run until it is removed; 0 keeps runs for ever.
        #[arg(long, value_name = "DAYS", required_unless_present = "messages")]
        runs_days: Option<u32>,
        /// Whether the chat messages of a run go with it.
        #[arg(long, value_name = "true|false")]
        messages: Option<bool>,
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Keep runs as long as the installation does. Takes a superuser.
    Unset {
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
}
