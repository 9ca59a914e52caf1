//! Benchmarks of the sandbox: the worker's own pool and backends, without API, scheduler or bus.
//!
//! ```text
//! bare      the component again and again in one process that has imported everything
//! BACKEND   take a slot ─ send the task ─ result ─ destroy, one caller, then several
//! ```
//! Rounds of all backends alternate, so that a busy minute of the machine meets all of them.

mod bench;
mod churn;
mod cpu;
mod machine;
mod plot;
mod report;
mod sleeping;
mod task;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use worker::config::Backend;

use bench::{Bench, micros};
use report::{Bare, Report, Row};

/// Measures what a cell costs on each backend.
#[derive(Debug, Parser)]
#[command(name = "flowcell-cells", version)]
pub struct Cli {
    /// The runner image.
    #[arg(long, default_value = "flowcell/runner:lfx-1.13")]
    image: String,
    /// Backends to measure, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "zygote,warm")]
    backends: Vec<String>,
    /// Seconds of load per backend and round.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds; the backends take turns in each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Cells at once under load.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Cells that one caller runs one after the other, per round.
    #[arg(long, default_value_t = 30)]
    single: u32,
    /// OCI runtime of the containers, as the engine knows it (`crun`).
    #[arg(long)]
    runtime: Option<String>,
    /// Also hold this many cells asleep at once, on the first backend.
    #[arg(long, default_value_t = 0)]
    sleeping: u32,
    /// Seconds of load that are not counted, before each round: a second zygote is still starting.
    #[arg(long, default_value_t = 8)]
    warm_up: u64,
    /// Also start cells at a steady rate for this many seconds, on the first backend.
    #[arg(long, default_value_t = 0)]
    churn: u64,
    /// Cells a second while that goes on.
    #[arg(long, default_value_t = 3.0)]
    churn_rate: f64,
    /// Writes the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes charts as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Runs the benchmark and prints a table.
///
/// # Errors
/// What could not be measured, and why.
pub async fn execute(cli: Cli) -> Result<()> {
    ensure!(!cli.backends.is_empty() && cli.concurrency > 0, "nothing to measure");
    let mut report = Report::new(bare(&cli.image)?);
    eprintln!("bare: {:.1} ms a component", report.bare.median_ms);
    for name in &cli.backends {
        let backend: Backend = serde_json::from_value(name.clone().into())
            .with_context(|| format!("{name:?} is no backend"))?;
        report.rows.push(Row::new(name, backend));
    }
    for round in 1..=cli.rounds {
        for row in &mut report.rows {
            eprintln!("round {round}/{}: {}", cli.rounds, row.name);
            measure(&cli, row).await?;
        }
    }
    if let (true, Some(row)) = (cli.sleeping > 0, report.rows.first()) {
        eprintln!("holding {} cells asleep on {}", cli.sleeping, row.name);
        report.sleeping = Some(sleeping::sleeping(&cli, row.backend).await?);
    }
    if let (true, Some(row)) = (cli.churn > 0, report.rows.first()) {
        eprintln!("{} cells/s for {} s on {}", cli.churn_rate, cli.churn, row.name);
        report.churn = churn::churn(&cli, row).await?;
    }
    println!("{report}");
    if let Some(path) = &cli.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &cli.plot {
        crate::plot::write(path, &plot::picture(&report)?)?;
    }
    Ok(())
}

/// One round of one backend.
async fn measure(cli: &Cli, row: &mut Row) -> Result<()> {
    let bench = Bench::open(cli, row.backend).await?;
    bench.load(Duration::from_secs(cli.warm_up), cli.concurrency).await?;
    bench.single(cli.single, row).await?;
    let loaded = bench.load(Duration::from_secs(cli.seconds), cli.concurrency).await?;
    for took in loaded.cells {
        row.loaded.saturating_record(micros(took.whole));
    }
    row.rates.push(loaded.per_second);
    row.cpu.push(loaded.cpu);
    bench.close().await;
    Ok(())
}

/// The component in a process of its own that serves nothing else: no isolation, no frames.
fn bare(image: &str) -> Result<Bare> {
    const PROGRAM: &str = "
import gc, json, time
gc.disable()
from flowcell_runner import environment
environment.prepare()
from flowcell_runner import warm
warm.warm_up()
times = []
for _ in range(200):
    began = time.perf_counter()
    warm.touch()
    times.append((time.perf_counter() - began) * 1000)
times.sort()
print(json.dumps({'median_ms': times[100], 'p95_ms': times[190], 'p99_ms': times[198]}))
";
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--entrypoint", "/opt/flowcell/bin/python"])
        .args([image, "-c", PROGRAM])
        .output()
        .context("running docker")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("no figures: {}", String::from_utf8_lossy(&output.stderr)))
}
