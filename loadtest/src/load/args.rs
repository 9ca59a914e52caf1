//! The command line of `flowcell-load`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Arrivals, Bound, Config, Job, Pace, Target, parse_duration};
use super::{measure, plot, sweep, table};
use crate::ApiKey;

/// Calls a flow's run endpoint at a known pace and reports what came back, when. Works against
/// Flowcell and Langflow.
#[derive(Debug, clap::Parser)]
#[command(name = "flowcell-load", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure at one pace.
    Run(RunArgs),
    /// Measure at several concurrencies and find the knee.
    Sweep(SweepArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Closed loop: this many callers, each sending its next run when the last is answered.
    /// One caller without this and --rate.
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    concurrency: Option<usize>,
    /// Open loop: this many runs per second by schedule. Latency counts from when a run was due.
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// How an open loop spreads its runs.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson, requires = "rate")]
    arrivals: Arrivals,
    /// Fixes the spread.
    #[arg(long, default_value_t = 1, requires = "rate")]
    seed: u64,
    /// Runs of an open loop unanswered at once.
    #[arg(long, default_value_t = 1_000, value_name = "N", requires = "rate")]
    in_flight_max: usize,
}

#[derive(Debug, clap::Args)]
struct SweepArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The steps, rising. Each is bounded by --duration and --runs.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32", value_name = "N,…")]
    concurrency: Vec<usize>,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("bound").required(true).multiple(true).args(["duration", "runs"])))]
struct CommonArgs {
    /// The target's base address, without /api/v1.
    #[arg(long)]
    url: Url,
    /// Sent as x-api-key.
    #[arg(long, env = "FLOWCELL_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<ApiKey>,
    /// The flow's id or endpoint name.
    #[arg(long)]
    flow: String,
    /// The chat message to send.
    #[arg(long, value_name = "TEXT")]
    input: String,
    /// Ask for a stream, and measure the time to its first token.
    #[arg(long)]
    stream: bool,
    /// Only have runs acknowledged, and measure that; their answers are not waited for. Flowcell only.
    #[arg(long, conflicts_with_all = ["stream", "expect"])]
    accept: bool,
    /// Count answers whose message does not contain this as wrong.
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// Begin no runs after this (for each target, and each step of a sweep): 30s, 2m, 500ms.
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Begin no more runs than this (for each target, and each step of a sweep).
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// A run that takes longer has failed.
    #[arg(long, value_parser = parse_duration, default_value = "120s")]
    timeout: Duration,
    /// Measure a second target too, taking turns, and print the ratios.
    #[arg(long, value_name = "URL")]
    compare: Option<Url>,
    /// The second target's key.
    #[arg(long, env = "FLOWCELL_COMPARE_API_KEY", hide_env_values = true, value_name = "KEY")]
    compare_api_key: Option<ApiKey>,
    /// The second target's flow, when it has another id.
    #[arg(long, value_name = "FLOW", requires = "compare")]
    compare_flow: Option<String>,
    /// Turns each target of a comparison takes.
    #[arg(long, default_value_t = 4, value_name = "N", requires = "compare")]
    slices: u32,
    /// Write everything measured here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it here, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Exit with 1 if any run failed. Without, only if none was good.
    #[arg(long)]
    strict: bool,
}

/// A checked command.
#[derive(Debug)]
pub struct Task {
    config: Config,
    /// The steps of a sweep; none for a single measurement.
    steps: Option<Vec<usize>>,
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
    strict: bool,
}

impl Cli {
    /// Checks the options together.
    pub fn task(self) -> anyhow::Result<Task> {
        let (common, pace, steps) = match self.command {
            Command::Run(args) => {
                let pace = args.pace();
                (args.common, pace, None)
            }
            Command::Sweep(args) => {
                sweep::check(&args.concurrency)?;
                (args.common, Pace::Closed { concurrency: 1 }, Some(args.concurrency))
            }
        };
        let config = common.config(pace);
        config.check()?;
        for concurrency in steps.iter().flatten() {
            let pace = Pace::Closed { concurrency: *concurrency };
            Config { pace, ..config.clone() }.check()?;
        }
        let CommonArgs { json, plot, strict, .. } = common;
        Ok(Task { config, steps, json, plot, strict })
    }
}

impl RunArgs {
    fn pace(&self) -> Pace {
        match self.rate {
            Some(rate_per_s) => Pace::Open {
                rate_per_s,
                arrivals: self.arrivals,
                seed: self.seed,
                in_flight_max: self.in_flight_max,
            },
            None => Pace::Closed { concurrency: self.concurrency.unwrap_or(1) },
        }
    }
}

impl CommonArgs {
    fn config(&self, pace: Pace) -> Config {
        let first = Target {
            label: "A".to_owned(),
            url: self.url.clone(),
            api_key: self.api_key.clone(),
            flow: self.flow.clone(),
        };
        let second = self.compare.as_ref().map(|url| Target {
            label: "B".to_owned(),
            url: url.clone(),
            api_key: self.compare_api_key.clone(),
            flow: self.compare_flow.clone().unwrap_or_else(|| self.flow.clone()),
        });
        Config {
            targets: std::iter::once(first).chain(second).collect(),
            job: Job {
                input: self.input.clone(),
                stream: self.stream,
                accept: self.accept,
                expect: self.expect.clone(),
                timeout: self.timeout,
            },
            pace,
            bound: Bound { runs: self.runs, duration: self.duration },
            slices: self.slices,
        }
    }
}

/// Measures, prints and writes. Says whether the result is good enough to exit with 0.
pub async fn execute(task: Task) -> anyhow::Result<bool> {
    let stop = CancellationToken::new();
    let interrupt = tokio::spawn(stop_on_interrupt(stop.clone()));
    let good = match &task.steps {
        None => {
            let report = measure::measure(&task.config, &stop).await?;
            print!("{}", table::report(&report));
            task.write(&report, || plot::report(&report))?;
            if task.strict { report.all_good() } else { report.any_good() }
        }
        Some(steps) => {
            let report = sweep::sweep(&task.config, steps, &stop).await?;
            print!("{}", table::sweep(&report));
            task.write(&report, || plot::sweep(&report))?;
            report.steps.iter().all(
                |step| {
                    if task.strict { step.all_good() } else { step.any_good() }
                },
            )
        }
    };
    interrupt.abort();
    Ok(good)
}

impl Task {
    fn write(
        &self,
        report: &impl Serialize,
        picture: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        if let Some(file) = &self.json {
            write_json(file, report)?;
        }
        if let Some(file) = &self.plot {
            crate::plot::write(file, &picture()?)?;
        }
        Ok(())
    }
}

fn write_json(file: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report).context("writing the report as JSON")?;
    std::fs::write(file, text + "\n")
        .with_context(|| format!("writing the report {}", file.display()))
}

/// The first interrupt ends the measurement and keeps its results; the second ends the program.
async fn stop_on_interrupt(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}
