//! `flowcell doctor`.

use anyhow::Result;
use worker::doctor::Status;

use crate::args::DoctorArguments;
use crate::exit::Exit;
use crate::settings::Settings;

pub(crate) async fn execute(arguments: DoctorArguments) -> Result<Exit> {
    let settings = Settings::load(arguments.config.as_deref())?;
    let checks = worker::doctor::examine(&settings.worker).await;
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        for check in &checks {
            let mark = match check.status {
                Status::Ok => "ok  ",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            println!("{mark}  {:<12} {}", check.name, check.found);
            if !check.advice.is_empty() {
                println!("      {}", check.advice);
            }
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}
