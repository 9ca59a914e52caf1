//! One backend: a pool, one caller, several callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use domain::id::WorkerEpoch;
use domain::limits::CellLimits;
use futures::future::try_join_all;
use proto::frame::FromRunner;
use tempfile::TempDir;
use uuid::Uuid;
use worker::config::{Backend, Config, PoolImage};
use worker::pool::{Figures, Pool, Settings};
use worker::sandbox::containers::Containers;
use worker::sandbox::{Job, Sandbox, SlotSpec};

use super::Cli;
use super::cpu::{Cpu, Reading};
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
    ready: u32,
    _dir: TempDir,
}

/// How long the steps of one cell took.
pub(super) struct Took {
    /// From asking for a slot to the task being sent.
    pub(super) pick_up: Duration,
    /// From asking for a slot to the result.
    pub(super) whole: Duration,
    /// The most memory of its control group before it had the task, and after; in bytes.
    pub(super) memory: (Option<u64>, Option<u64>),
}

impl Bench {
    /// With as many waiting slots as the figures need.
    pub(super) async fn open(cli: &Cli, backend: Backend) -> Result<Self> {
        Self::sized(cli, backend, POOL, u32::try_from(cli.concurrency)?).await
    }

    /// With so many waiting slots, and so many cells at once.
    pub(super) async fn sized(cli: &Cli, backend: Backend, ready: u32, slots: u32) -> Result<Self> {
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
        let bench = Self { config, sandbox, pool, ready, _dir: dir };
        bench.filled().await?;
        Ok(bench)
    }

    /// Waits until all slots wait that should, and no other is there.
    pub(super) async fn filled(&self) -> Result<()> {
        let (began, ready) = (Instant::now(), u64::from(self.ready));
        while self.figures().ready < ready || self.figures().containers > ready {
            if began.elapsed() > TAKE_MAX {
                bail!("the pool did not fill: {:?}", self.pool.health());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> Figures {
        self.pool.figures()
    }

    fn spec(&self) -> SlotSpec {
        let image = self.config.pool.images.first().map(|image| image.image.clone());
        SlotSpec { image: image.unwrap_or_default(), tmpfs_bytes: self.config.limits.tmpfs_bytes }
    }

    /// One cell that sleeps for so long. Its destruction goes on behind.
    pub(super) async fn cell(&self, seconds: f64) -> Result<Took> {
        let asked = Instant::now();
        let mut lent = self.pool.take(&self.spec(), TAKE_MAX).await?;
        let looking = Instant::now();
        let waiting = self.sandbox.memory_peak_bytes(&lent);
        // Looking is not part of it.
        let asked = asked + looking.elapsed();
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
        let whole = asked.elapsed();
        Ok(Took { pick_up, whole, memory: (waiting, self.sandbox.memory_peak_bytes(&lent)) })
    }

    /// One caller; between two cells the pool fills up again, so that nothing else is going on.
    pub(super) async fn single(&self, count: u32, row: &mut Row) -> Result<()> {
        for _ in 0..count {
            self.filled().await?;
            let took = self.cell(0.0).await?;
            row.pick_up.saturating_record(micros(took.pick_up));
            row.single.saturating_record(micros(took.whole));
            row.waiting.extend(took.memory.0.map(mebibytes));
            row.running.extend(took.memory.1.map(mebibytes));
        }
        Ok(())
    }

    /// Several callers, each asking again at once; every cell, and what one cost on average.
    pub(super) async fn load(&self, span: Duration, callers: usize) -> Result<Loaded> {
        let (cpu, began) = (Reading::take(), Instant::now());
        let caller = || async {
            let mut all = Vec::new();
            while began.elapsed() < span {
                all.push(self.cell(0.0).await?);
            }
            Ok::<_, anyhow::Error>(all)
        };
        let all = try_join_all((0..callers).map(|_| caller())).await?;
        let (spent, seconds) = (Reading::take(), began.elapsed().as_secs_f64());
        let cells: Vec<_> = all.into_iter().flatten().collect();
        let count = f64::from(u32::try_from(cells.len())?);
        let cpu = spent.since(&cpu, count.max(1.0));
        Ok(Loaded { cells, per_second: count / seconds, cpu })
    }

    pub(super) async fn close(self) {
        self.pool.close().await;
        self.sandbox.close().await;
    }
}

/// Cells under load.
pub(super) struct Loaded {
    pub(super) cells: Vec<Took>,
    pub(super) per_second: f64,
    pub(super) cpu: Cpu,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
