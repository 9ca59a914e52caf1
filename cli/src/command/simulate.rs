//! `flowcell simulate`: how a cluster would share its slots.

use anyhow::{Context, Result};

use crate::args::SimulateArguments;
use crate::exit::Exit;
use crate::output;

pub(crate) fn execute(arguments: &SimulateArguments) -> Result<Exit> {
    let file = &arguments.scenario;
    let scenario: simulate::Scenario = service::config::load(Some(file))
        .with_context(|| format!("{} is no scenario", file.display()))?;
    let report = simulate::run(&scenario)?;
    if arguments.json {
        output::line(serde_json::to_string_pretty(&report)?)?;
    } else {
        output::line(report)?;
    }
    Ok(Exit::Done)
}
