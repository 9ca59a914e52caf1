//! Many cells that wait, as for a model: what they cost while they do nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::try_join_all;
use serde::Serialize;
use worker::config::Backend;

use super::Cli;
use super::bench::Bench;
use super::cpu::Reading;
use super::machine::memory_used;

/// How long the machine is looked at while all of them sleep.
const WATCHED: Duration = Duration::from_secs(20);

/// Cells that sleep at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sleeping {
    pub(super) cells: u32,
    pub(super) seconds_to_start: f64,
    /// The machine's memory, in bytes a cell.
    pub(super) memory_bytes_each: u64,
    /// Processor time of the machine while all sleep, in milliseconds a cell and second.
    pub(super) cpu_ms_per_second_each: f64,
}

/// Starts so many sleepers, looks at the machine while all of them sleep, and sees each wake.
pub(super) async fn sleeping(cli: &Cli, backend: Backend) -> Result<Sleeping> {
    let before = memory_used();
    let bench = Bench::sized(cli, backend, 4, cli.sleeping).await?;
    let began = Instant::now();
    // Long enough that the first still sleeps when the last has begun.
    let span = Duration::from_secs(u64::from(cli.sleeping) / 5 + 60);
    let sleepers = try_join_all((0..cli.sleeping).map(|_| bench.cell(span.as_secs_f64())));
    let watching = async {
        loop {
            let figures = bench.figures();
            let asleep = figures.taken_ready + figures.taken_after_wait;
            if asleep >= u64::from(cli.sleeping) {
                break;
            }
            eprint!("\r{asleep} asleep");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        eprintln!();
        let seconds_to_start = began.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu = Reading::take();
        tokio::time::sleep(WATCHED).await;
        let spent = Reading::take().since(&cpu, f64::from(cli.sleeping)).machine;
        let found = Sleeping {
            cells: cli.sleeping,
            seconds_to_start,
            memory_bytes_each: memory_used().saturating_sub(before) / u64::from(cli.sleeping),
            cpu_ms_per_second_each: spent / WATCHED.as_secs_f64(),
        };
        if began.elapsed() > span {
            bail!("the first cells woke before the last began");
        }
        Ok(found)
    };
    let (woken, found) = futures::join!(sleepers, watching);
    woken?;
    bench.close().await;
    found
}
