//! `flowcell rerun` and `flowcell dead-letters`.

use clap::{Args, Subcommand};

use super::{ClientArguments, WatchArguments};

/// `flowcell rerun`.
#[derive(Debug, Args)]
pub(crate) struct RerunArguments {
    /// Id of the ended run.
    pub(crate) run: String,
    /// A node, by id or display name, that is done again with all that follows; may be repeated.
    /// Without any, and without a change, what the run did not finish is done.
    #[arg(long, value_name = "NODE")]
    pub(crate) from: Vec<String>,
    /// Do everything again.
    #[arg(long, conflicts_with = "from")]
    pub(crate) from_start: bool,
    /// Send another text into the flow; its inputs are done again with all that follows.
    #[arg(long, short)]
    pub(crate) input: Option<String>,
    /// Change a field, `NODE.FIELD=VALUE` as for `flowcell run`; the node is done again with all
    /// that follows. Other tweaks of the earlier run stay. May be repeated.
    #[arg(long = "tweak", value_name = "NODE.FIELD=VALUE")]
    pub(crate) tweaks: Vec<String>,
    #[command(flatten)]
    pub(crate) watch: WatchArguments,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `flowcell dead-letters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, newest first, with why each failed.
    List {
        /// Only of this flow: id, endpoint name or name.
        #[arg(long)]
        flow: Option<String>,
        /// Print them as JSON lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Run them again with what they finished, each exactly once; prints old and new id.
    Redrive(DeadLettersArguments),
    /// Let them rest: they are listed no more. The runs stay until their retention ends.
    Dismiss(DeadLettersArguments),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArguments {
    /// Ids of runs.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) runs: Vec<String>,
    /// All that there are.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only those of this flow: id, endpoint name or name.
    #[arg(long, requires = "all")]
    pub(crate) flow: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}
