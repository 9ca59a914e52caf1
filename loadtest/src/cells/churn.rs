//! One backend at a steady rate for a long time: what leaks shows here.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::stream::{FuturesUnordered, StreamExt as _};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Cli;
use super::bench::{Bench, micros};
use super::machine::{memory_used, open_files};
use super::report::Row;

/// One line of the record.
const WINDOW: Duration = Duration::from_secs(60);

/// One minute.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Minute {
    /// Counted from 1.
    pub(super) minute: u32,
    pub(super) cells: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Of the machine.
    pub(super) memory_bytes: u64,
    /// Descriptors of the worker.
    pub(super) open_files: usize,
    /// Slots that exist: being made, waiting, running, being removed.
    pub(super) slots: u64,
}

/// Cells at a steady rate, whether the ones before have ended or not.
pub(super) async fn churn(cli: &Cli, row: &Row) -> Result<Vec<Minute>> {
    ensure!(cli.churn_rate > 0.0, "--churn-rate must be over 0");
    let bench = Bench::open(cli, row.backend).await?;
    let (began, mut record) = (Instant::now(), Vec::new());
    let mut ticks = interval(Duration::from_secs_f64(1.0 / cli.churn_rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = FuturesUnordered::new();
    let mut took = Histogram::<u64>::new(3)?;
    while began.elapsed() < Duration::from_secs(cli.churn) {
        tokio::select! {
            _ = ticks.tick() => running.push(bench.cell(0.0)),
            Some(cell) = running.next() => took.record(micros(cell?.whole))?,
        }
        let minute = u32::try_from(record.len())? + 1;
        if began.elapsed() >= WINDOW * minute {
            record.push(summary(minute, &took, &bench));
            eprintln!("{:?}", record.last());
            took.reset();
        }
    }
    while let Some(cell) = running.next().await {
        cell?;
    }
    drop(running);
    bench.close().await;
    Ok(record)
}

fn summary(minute: u32, took: &Histogram<u64>, bench: &Bench) -> Minute {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of at most an hour")]
    let ms = |quantile| took.value_at_quantile(quantile) as f64 / 1_000.0;
    Minute {
        minute,
        cells: took.len(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        memory_bytes: memory_used(),
        open_files: open_files(),
        slots: bench.figures().containers,
    }
}
