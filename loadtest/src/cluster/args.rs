//! The command line of `flowcell-cluster`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drill::Cast;
use tokio_util::sync::CancellationToken;

use super::report::Report;
use super::{fairness, history, intake, plot, recovery, runs, scaling, soak, table, tokens};
use crate::load::parse_duration;

/// Measures a cluster without containers: intake, orchestration, scaling, fairness, tokens,
/// recovery, memory. Starts Postgres, NATS, APIs and schedulers of its own on loopback.
#[derive(Debug, clap::Parser)]
#[command(name = "flowcell-cluster", version)]
pub struct Cli {
    /// The program; build it with --release.
    #[arg(long, value_name = "FILE", default_value = "target/release/flowcell")]
    flowcell: PathBuf,
    /// A `nats-server`; the machine's when absent.
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// APIs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    apis: usize,
    /// Schedulers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    schedulers: usize,
    /// What to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "PART,…",
        default_value = "intake,runs,scaling,fairness,tokens,recovery,soak"
    )]
    parts: Vec<Part>,
    /// Runs offered in a second, one step each.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "R,…",
        default_value = "100,200,400,500,600,800,1000"
    )]
    intake_rates: Vec<f64>,
    /// Callers at once, one step each.
    #[arg(long, value_delimiter = ',', value_name = "N,…", default_value = "1,2,4,8,16,32,64")]
    concurrency: Vec<usize>,
    /// How long a step lasts.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    step: Duration,
    /// Runs that one tenant has waiting while another one is measured.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    noise: u64,
    /// Runs of the soak.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    soak_runs: u64,
    /// Ended runs that the database is filled with; 10 million take 35 GB.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    history_runs: u64,
    /// Write everything measured here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it here, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Part {
    Intake,
    Runs,
    Scaling,
    Fairness,
    Tokens,
    Recovery,
    Soak,
    History,
}

/// Measures, prints and writes.
///
/// # Errors
/// When a cluster does not start or a file cannot be written.
pub async fn execute(cli: Cli) -> Result<()> {
    let cast = Cast {
        flowcell: cli.flowcell.clone(),
        nats_server: cli.nats_server.clone(),
        apis: cli.apis,
        schedulers: cli.schedulers,
        postgres_settings: Vec::new(),
        environment: Vec::new(),
    };
    let stop = CancellationToken::new();
    let mut report = Report::new(&cast);
    let parts: BTreeSet<Part> = cli.parts.iter().copied().collect();
    for part in parts {
        match part {
            Part::Intake => {
                report.intake = intake::measure(&cast, &cli.intake_rates, cli.step, &stop).await?;
            }
            Part::Runs => {
                report.runs = runs::measure(&cast, &cli.concurrency, cli.step, &stop).await?;
            }
            Part::Scaling => report.scaling = scaling::measure(&cast, cli.step, &stop).await?,
            Part::Fairness => {
                report.fairness =
                    Some(fairness::measure(&cast, cli.noise, cli.step * 2, &stop).await?);
            }
            Part::Tokens => report.tokens = tokens::measure(&cast).await?,
            Part::Recovery => report.recovery = Some(recovery::measure(&cast).await?),
            Part::Soak => report.soak = Some(soak::measure(&cast, cli.soak_runs, &stop).await?),
            Part::History => {
                let found = history::measure(&cast, cli.history_runs, cli.step, &stop).await?;
                report.history = Some(found);
            }
        }
    }
    print!("{}", table::table(&report));
    if let Some(file) = &cli.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(file) = &cli.plot {
        crate::plot::write(file, &plot::picture(&report)?)?;
    }
    Ok(())
}
