//! How the program ends.

use std::process::ExitCode;

use crate::client::Refusal;
use crate::output;

/// The exit codes, as `flowcell --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The run or the command failed.
    Failed,
    /// The server is not reachable or refuses access.
    NoAccess,
    /// The configuration is invalid (sysexits' `EX_USAGE` of a configuration: 64).
    BadConfiguration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NoAccess => 3,
            Exit::BadConfiguration => 64,
        })
    }
}

impl Exit {
    /// Tells the error to the user and says how the program ends.
    pub(crate) fn from_error(error: &anyhow::Error) -> Self {
        if let Some(output::Error::Closed) = error.downcast_ref() {
            // Whoever read has had what it wanted.
            return Self::Done;
        }
        output::note(format_args!("error: {error}"));
        for cause in error.chain().skip(1) {
            output::note(format_args!("  because: {cause}"));
        }
        let is_configuration = error.is::<service::config::Error>()
            || error.is::<domain::runtime::SettingsError>()
            || error.is::<domain::retention::SettingsError>();
        if is_configuration {
            return Self::BadConfiguration;
        }
        match error.downcast_ref::<Refusal>() {
            Some(Refusal::NoAccess(_)) => Self::NoAccess,
            Some(Refusal::Failed(_)) | None => Self::Failed,
        }
    }
}
