//! `flowcell doctor`.

use anyhow::Result;
use worker::doctor::Status;

use super::up;
use crate::args::DoctorArguments;
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;

pub(crate) async fn execute(arguments: DoctorArguments) -> Result<Exit> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    // What `flowcell up` would run, unless somebody asks about a worker of a cluster.
    if arguments.config.is_none() || arguments.data.data_dir.is_some() {
        up::embed(&mut settings.worker, &arguments.data.path());
    }
    let checks = worker::doctor::examine(&settings.worker).await;
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    if arguments.json {
        output::line(serde_json::to_string_pretty(&checks)?)?;
    } else {
        for check in &checks {
            let mark = match check.status {
                Status::Ok => "ok  ",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            output::line(format_args!("{mark}  {:<12} {}", check.name, check.found))?;
            if !check.advice.is_empty() {
                output::line(format_args!("      {}", check.advice))?;
            }
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
