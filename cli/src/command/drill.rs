//! `flowcell drill`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use drill::{Length, Options, Report};
use rand::RngExt;

use crate::args::DrillArguments;
use crate::exit::Exit;
use crate::output;

/// Seeds that are easily typed.
const SEED_MAX: u64 = 999_999;

pub(crate) async fn execute(arguments: DrillArguments) -> Result<Exit> {
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(1..=SEED_MAX));
    output::note(format_args!("seed {seed}"));
    let length = match (arguments.minutes, arguments.faults) {
        (Some(minutes), _) => Length::Time(Duration::from_mins(minutes)),
        (None, Some(faults)) => Length::Faults(faults),
        (None, None) => Length::EveryKind,
    };
    let options = Options {
        flowcell: std::env::current_exe().context("finding this program")?,
        beside: arguments.beside,
        nats_server: arguments.nats_server,
        home: arguments.home,
        docker_host: arguments.docker_host,
        image: arguments.image,
        seed,
        length,
        faults_at_once: usize::from(arguments.at_once),
        runs_per_minute: arguments.runs_per_minute,
        disks: !arguments.no_disks,
        clocks: !arguments.no_clocks,
        engine: arguments.engine,
    };
    let report = drill::run(&options).await?;
    output::line(report.table())?;
    for file in &arguments.report {
        write(&report, file)?;
    }
    Ok(if report.is_clean() { Exit::Done } else { Exit::Failed })
}

fn write(report: &Report, file: &Path) -> Result<()> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let text = if is_json { report.json() } else { report.markdown() };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
