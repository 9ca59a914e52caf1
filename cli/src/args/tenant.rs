//! `flowcell tenant`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DataDir;
use crate::client::percent_encode;

/// `flowcell tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant with a user; password and API key are shown this once.
    #[command(after_help = "Examples:
  flowcell tenant add acme --config cluster/control/flowcell.toml
  flowcell tenant add acme --user ann                beside `flowcell up`")]
    Add {
        /// Its name, which no other tenant has.
        name: String,
        /// Login name of its user; the tenant's name when absent.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        installation: InstallationArguments,
    },
    /// List tenants.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        installation: InstallationArguments,
    },
}

/// Whose settings, where they are not those of one's own tenant.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfTenant {
    /// Of another tenant (name or id). Takes a superuser.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
}

impl OfTenant {
    /// The path with the tenant in its query.
    pub(crate) fn on(&self, path: &str) -> String {
        match &self.tenant {
            Some(name) => format!("{path}?tenant={}", percent_encode(name)),
            None => path.to_owned(),
        }
    }
}

/// The database that an operator's command works on.
#[derive(Debug, Args)]
pub(crate) struct InstallationArguments {
    /// Configuration file (TOML) of a cluster's API or scheduler. Without it, what `flowcell up` uses.
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}
