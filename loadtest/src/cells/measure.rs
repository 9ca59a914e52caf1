//! One backend under one caller, under several, and holding sleepers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use domain::id::WorkerEpoch;
use domain::limits::CellLimits;
use futures::future::try_join_all;
use proto::frame::FromRunner;
use serde::Serialize;
use tempfile::TempDir;
use uuid::Uuid;
use worker::config::{Backend, Config, PoolImage};
use worker::pool::{Pool, Settings};
use worker::sandbox::containers::Containers;
use worker::sandbox::{Job, Sandbox, SlotSpec};

use super::Cli;
use super::cpu::Cpu;
use super::report::Row;
use super::task::echo;

/// A slot may take this long: a `warm` one imports everything, beside others.
const TAKE_MAX: Duration = Duration::from_secs(300);
/// Slots that wait before the first figure is taken.
const POOL: u32 = 8;

/// A pool on one backend.
pub(super) struct Bench {
    config: Config,
    sandbox: Arc<dyn Sandbox>,
    pool: Pool,
    _dir: TempDir,
}

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

/// How long the steps of one cell took.
struct Took {
    pick_up: Duration,
    whole: Duration,
}

impl Bench {
    pub(super) async fn open(cli: &Cli, backend: Backend) -> Result<Self> {
        Self::sized(cli, backend, POOL, u32::try_from(cli.concurrency)?).await
    }

    async fn sized(cli: &Cli, backend: Backend, ready: u32, slots: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut config = Config {
            name: format!("bench-{}", std::process::id()),
            cluster: "flowcell-bench".into(),
            slots,
            socket_dir: dir.path().join("s"),
            oci_runtime: cli.runtime.clone(),
            ..Config::default()
        };
        config.limits = CellLimits { memory_bytes: 512 << 20, ..config.limits };
        config.sandbox.backend = backend;
        config.pool.images =
            vec![PoolImage { size_max: ready.max(32), ..PoolImage::fixed(&*cli.image, ready) }];
        config.pool.refill_concurrency = 4;
        config.pool.idle_s_max = 3_600;
        config.validate()?;
        let containers = Containers::open(&config, WorkerEpoch(Uuid::new_v4())).await?;
        let sandbox: Arc<dyn Sandbox> = Arc::new(containers);
        let pool = Pool::open(sandbox.clone(), Settings::from(&config));
        let bench = Self { config, sandbox, pool, _dir: dir };
        bench.filled(ready).await?;
        Ok(bench)
    }

    async fn filled(&self, count: u32) -> Result<()> {
        let began = Instant::now();
        while self.pool.figures().ready < u64::from(count) {
            if began.elapsed() > TAKE_MAX {
                bail!("the pool did not fill: {:?}", self.pool.health());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn spec(&self) -> SlotSpec {
        let image = self.config.pool.images.first().map(|image| image.image.clone());
        SlotSpec { image: image.unwrap_or_default(), tmpfs_bytes: self.config.limits.tmpfs_bytes }
    }

    /// One cell, from asking for a slot to its result. Its destruction goes on behind.
    async fn cell(&self, seconds: f64) -> Result<Took> {
        let asked = Instant::now();
        let mut lent = self.pool.take(&self.spec(), TAKE_MAX).await?;
        let job = Job { task: echo(seconds)?, limits: self.config.limits.clone(), egress: None };
        let mut running = self.sandbox.run(&mut lent, job).await?;
        let pick_up = asked.elapsed();
        loop {
            let frame = running.frames.next().await.context("the runner ended")??.frame;
            match frame {
                FromRunner::Result(_) => break,
                FromRunner::Failure(failure) => bail!("the cell failed: {}", failure.message),
                _ => {}
            }
        }
        Ok(Took { pick_up, whole: asked.elapsed() })
    }

    /// One caller, with a full pool each time.
    pub(super) async fn single(&self, count: u32, row: &mut Row) -> Result<()> {
        for _ in 0..count {
            self.filled(1).await?;
            let took = self.cell(0.0).await?;
            row.pick_up.saturating_record(micros(took.pick_up));
            row.single.saturating_record(micros(took.whole));
        }
        Ok(())
    }

    /// Several callers, each asking again at once.
    pub(super) async fn load(&self, span: Duration, callers: usize, row: &mut Row) -> Result<()> {
        let (cpu, began) = (Cpu::now(), Instant::now());
        let caller = || async {
            let mut all = Vec::new();
            while began.elapsed() < span {
                all.push(self.cell(0.0).await?);
            }
            Ok::<_, anyhow::Error>(all)
        };
        let all = try_join_all((0..callers).map(|_| caller())).await?;
        let (spent, seconds) = (Cpu::now(), began.elapsed().as_secs_f64());
        let mut cells = 0.0;
        for took in all.into_iter().flatten() {
            row.loaded.saturating_record(micros(took.whole));
            cells += 1.0;
        }
        row.rates.push(cells / seconds);
        row.cpu.push(spent.since(cpu, f64::max(cells, 1.0)));
        Ok(())
    }

    pub(super) async fn close(self) {
        self.pool.close().await;
        self.sandbox.close().await;
    }
}

/// Starts so many sleepers, and looks at the machine while all of them sleep.
pub(super) async fn sleeping(cli: &Cli, backend: Backend) -> Result<Sleeping> {
    const ASLEEP: Duration = Duration::from_secs(20);
    let before = memory_used();
    let bench = Bench::sized(cli, backend, 1, cli.sleeping).await?;
    let began = Instant::now();
    // Long enough that the first still sleeps when the last has begun.
    let span = Duration::from_secs(u64::from(cli.sleeping) / 4 + 60);
    let sleepers = try_join_all((0..cli.sleeping).map(|_| bench.cell(span.as_secs_f64())));
    let watching = async {
        while bench.pool.figures().taken_ready + bench.pool.figures().taken_after_wait
            < u64::from(cli.sleeping)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seconds_to_start = began.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu = Cpu::now();
        tokio::time::sleep(ASLEEP).await;
        let spent = Cpu::now().since(cpu, f64::from(cli.sleeping)).machine;
        Sleeping {
            cells: cli.sleeping,
            seconds_to_start,
            memory_bytes_each: memory_used().saturating_sub(before) / u64::from(cli.sleeping),
            cpu_ms_per_second_each: spent / ASLEEP.as_secs_f64(),
        }
    };
    let found = tokio::select! {
        ended = sleepers => { ended?; bail!("the first cells woke before the last began") }
        found = watching => found,
    };
    bench.close().await;
    Ok(found)
}

fn memory_used() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let used = of("MemTotal:").unwrap_or(0).saturating_sub(of("MemAvailable:").unwrap_or(0));
    used * 1024
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
