//! `flowcell reap`: what a worker's process leaves is removed once it is gone.

use std::path::Path;

use anyhow::Result;
use worker::Swept;
use worker::reaper::{Program, stand_by};

use crate::args::ReapArguments;
use crate::exit::Exit;
use crate::settings::Settings;

pub(crate) async fn execute(mut arguments: ReapArguments) -> Result<Exit> {
    let config = arguments.config.take();
    // The worker has read the same; should it have changed since, the work matters more.
    let mut telemetry =
        Settings::load(config.as_deref()).map(|settings| settings.telemetry).unwrap_or_default();
    telemetry.otlp = None;
    let _telemetry = service::telemetry::init(&telemetry, "flowcell-reap")?;
    let job = arguments.job();
    let swept = stand_by(&job).await?;
    if swept != Swept::default() {
        tracing::info!(
            worker = %job.worker,
            worker.epoch = %job.epoch,
            containers = swept.containers,
            "removed what a worker left"
        );
    }
    Ok(Exit::Done)
}

/// This program, as a reaper. Without a path to itself a worker does without one.
pub(crate) fn program(config: Option<&Path>) -> Option<Program> {
    let path = std::env::current_exe()
        .inspect_err(|error| tracing::warn!(%error, "this program does not find itself"))
        .ok()?;
    let mut arguments = vec!["reap".into()];
    if let Some(config) = config {
        arguments.extend(["--config".into(), config.into()]);
    }
    Some(Program { path, arguments })
}
