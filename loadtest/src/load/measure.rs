//! One measurement: the targets, turn by turn, and the report.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::config::{Config, Pace};
use super::driver::{Lane, Slice, drive};
use super::progress::Progress;
use super::report::{Ratios, Report};

/// Measures until the bound, or until stopped; what was found by then is reported in both cases.
///
/// Two targets take turns, A B B A, so that whatever disturbs the machine disturbs both.
pub async fn measure(config: &Config, stop: &CancellationToken) -> anyhow::Result<Report> {
    config.check().context("what to measure")?;
    let started_unix_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let title = match config.pace {
        Pace::Closed { concurrency } => format!("{concurrency} at once"),
        Pace::Open { rate_per_s, .. } => format!("{rate_per_s}/s"),
    };
    let progress = Arc::new(Progress::new(&title, config.bound, config.targets.len() as u64));
    let lanes = config
        .targets
        .iter()
        .map(|target| {
            let client = Client::new(target, &config.job)?;
            Lane::new(client, config.job.stream, Arc::clone(&progress), stop.clone())
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let slices = if lanes.len() > 1 { config.slices } else { 1 };
    for index in 0..slices {
        let bound = config.bound.slice(index, slices);
        for lane in turn(&lanes, index) {
            drive(lane, Slice { pace: config.pace, bound, index }).await?;
        }
    }
    let targets: Vec<_> = config
        .targets
        .iter()
        .zip(&lanes)
        .map(|(target, lane)| lane.recorder().report(&target.label))
        .collect();
    let ratios = match targets.as_slice() {
        [a, b] => Some(Ratios::of(a, b)),
        _ => None,
    };
    Ok(Report {
        tool: concat!("flowcell-load ", env!("CARGO_PKG_VERSION")),
        started_unix_ms,
        cpus: available_parallelism().map_or(1, usize::from),
        interrupted: stop.is_cancelled(),
        config: config.clone(),
        targets,
        ratios,
    })
}

/// A B, then B A.
fn turn(lanes: &[Arc<Lane>], slice: u32) -> Vec<&Arc<Lane>> {
    let forward = lanes.iter();
    if slice.is_multiple_of(2) { forward.collect() } else { forward.rev().collect() }
}
