//! `flowcell admission` and `flowcell simulate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClientArguments, OfTenant};

/// `flowcell admission`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdmissionCommand {
    /// Show what is set.
    Show {
        #[command(flatten)]
        scope: AdmissionScope,
    },
    /// Set something; the rest stays as it is.
    #[command(
        after_help = "For a tenant: weight, slots_max, runs_max, queued_max, runs_per_minute.
For a flow: runs_max, pool, retry.attempts_max, retry.backoff_ms, retry.backoff_ms_max,
retry.component_errors, retry.errors. For a node of a flow: pool and retry.…. For an API key: runs_max.

Examples:
  flowcell admission set weight=300 runs_max=200
  flowcell admission set --tenant acme runs_max=20 runs_per_minute=60
  flowcell admission set --flow 'Nightly report' runs_max=1 pool=gpu retry.attempts_max=5
  flowcell admission set --flow 'Nightly report' --node 'Web Search' retry.errors=component,timed_out"
    )]
    Set {
        /// What to set.
        #[arg(required = true, value_name = "NAME=VALUE")]
        values: Vec<String>,
        #[command(flatten)]
        scope: AdmissionScope,
    },
    /// Unset it.
    Unset {
        /// Which; all of it when nothing is named.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        scope: AdmissionScope,
    },
}

/// Whose runs.
#[derive(Debug, Args)]
pub(crate) struct AdmissionScope {
    /// Of one flow (id, endpoint name or name).
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["of_key", "tenant"])]
    pub(crate) flow: Option<String>,
    /// Of one node of the flow (id or display name).
    #[arg(long, value_name = "NODE", requires = "flow")]
    pub(crate) node: Option<String>,
    /// Of one API key (its id).
    #[arg(long = "of-key", value_name = "ID", conflicts_with = "tenant")]
    pub(crate) of_key: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `flowcell simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// A scenario (TOML).
    pub(crate) scenario: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a run takes its turn.
#[derive(Debug, Args)]
pub(crate) struct TurnArguments {
    /// From -100 to 100: higher goes first among the tenant's runs.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) priority: Option<i32>,
    /// Do not start it before so many milliseconds have passed.
    #[arg(long, value_name = "MS")]
    pub(crate) delay_ms: Option<u64>,
    /// The pool whose workers run it.
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
}
