//! A drill from its start to its verdict.

mod faults;
mod gather;
mod kinds;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::faults::Made;
use crate::api::Apis;
use crate::build::Builds;
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::command::nats_program;
use crate::effects::Effects;
use crate::engine;
use crate::fault::{Fault, Plan};
use crate::flow;
use crate::home::Home;
use crate::load::Load;
use crate::progress::Progress;
use crate::report::Report;
use crate::time::now;

/// After the last fault. When no run ends for so long, the others are lost. A busy machine may take
/// long for all of them together.
const STALLED_AFTER: Duration = Duration::from_mins(3);

/// Until the very first run has ended: pools are filled before.
const FIRST_RUN_WITHIN: Duration = Duration::from_secs(180);

/// How often a terminal hears how many runs are how far.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// When a drill makes no further fault.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After every kind that can be made here.
    EveryKind,
    /// After so many.
    Faults(usize),
    /// After so long.
    Time(Duration),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub flowcell: PathBuf,
    /// Another build of it, which half of the processes begin as.
    pub beside: Option<PathBuf>,
    /// A `nats-server`; where none is named, the machine's.
    pub nats_server: Option<PathBuf>,
    /// A new or empty folder for everything; a temporary one where none is named.
    pub home: Option<PathBuf>,
    /// The engine, `unix://…`.
    pub docker_host: String,
    /// The image of the cells.
    pub image: String,
    /// What the order of faults, their targets and lengths are made from.
    pub seed: u64,
    /// When to stop.
    pub length: Length,
    /// Most faults at the same time.
    pub faults_at_once: usize,
    /// Runs that are submitted in a minute.
    pub runs_per_minute: u32,
    /// Whether to fill disks, where that is possible.
    pub disks: bool,
    /// Whether to set clocks, where that is possible.
    pub clocks: bool,
    /// Whether to start an engine for a worker, and kill it.
    pub engine: bool,
}

/// Starts a cluster, troubles it, ends it, and says what became of its runs.
///
/// # Errors
/// When there is no cluster to trouble, or the drill is interrupted. A broken promise is no error:
/// the report has it.
pub async fn run(options: &Options) -> Result<Report> {
    let home = Home::new(options.home.as_deref())?;
    let progress = Progress::new();
    let outcome = tokio::select! {
        outcome = Box::pin(in_home(options, home.path(), &progress)) => outcome,
        interrupted = interrupted() => interrupted,
    };
    progress.end();
    if outcome.as_ref().is_ok_and(Report::is_clean) {
        return outcome;
    }
    let kept = home.keep();
    progress.say(format_args!("logs and settings are in {}", kept.display()));
    outcome
}

/// Returns, with an error, when the user or a service manager wants an end. What was started is
/// killed when it is dropped.
async fn interrupted() -> Result<Report> {
    let (mut ask, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = ask.recv() => {}
        _ = term.recv() => {}
    }
    bail!("the drill was interrupted; everything it started is ended")
}

async fn in_home(options: &Options, home: &Path, progress: &Progress) -> Result<Report> {
    progress.now("starting Postgres, NATS, 2 api, 2 scheduler, 2 worker");
    let docker = engine::connect(&options.docker_host)?;
    let (kinds, left_out) = kinds::possible(options)?;
    let builds = Builds::new(&options.flowcell, options.beside.as_deref())?;
    let names = builds.names()?;
    let setup = Setup {
        builds,
        nats: nats_program(options.nats_server.as_deref())?,
        home: home.to_owned(),
        image: options.image.clone(),
        docker_host: options.docker_host.clone(),
        with_disks: kinds.iter().any(|fault| matches!(fault, Fault::DiskFull(_))),
        faketime: clock::library().filter(|_| options.clocks),
        with_engine: options.engine,
    };
    let cluster = Arc::new(Box::pin(Cluster::start(&setup, &docker)).await?);
    let effects = Effects::serve().await?;
    let apis = Apis::new(cluster.apis(), cluster.api_key.clone())?;
    let flow = apis.import(&flow::export(effects.address())?).await?;
    apis.allow(effects.address()).await?;
    let every = Duration::from_mins(1) / options.runs_per_minute.max(1);
    let load = Load::new(apis.clone(), flow, every);
    progress.now("waiting for the first run");
    // Without it the pools' first containers would be measured as a recovery.
    tokio::time::timeout(FIRST_RUN_WITHIN, load.client(0))
        .await
        .with_context(|| format!("the first run does not end: see {}/logs", home.display()))?;
    let began = now();
    progress.say("the cluster works; faults begin");
    let made = under_load(options, &cluster, &load, kinds, progress).await;
    let lasted_ms = now() - began;
    let parts = gather::Parts {
        options,
        builds: names,
        cluster,
        docker,
        effects,
        load,
        apis,
        made,
        left_out,
    };
    parts.report(began, lasted_ms, progress).await
}

/// Makes faults while runs are submitted; returns once all runs have ended or should have.
async fn under_load(
    options: &Options,
    cluster: &Arc<Cluster>,
    load: &Load,
    kinds: Vec<Fault>,
    progress: &Progress,
) -> Vec<Made> {
    let stop = CancellationToken::new();
    let every_kind = kinds.len();
    let submitting = load.run(stop.clone(), STALLED_AFTER);
    let making = async {
        let faults = faults::Faults { cluster: Arc::clone(cluster), options, every_kind, progress };
        let made = faults.make(Plan::new(options.seed, kinds)).await;
        progress.say("no further faults; waiting for the runs");
        stop.cancel();
        made
    };
    let telling = async {
        loop {
            let tally = load.tally();
            progress.now(format_args!("{} runs, {} ended", tally.submitted, tally.ended));
            tokio::time::sleep(TOLD_EVERY).await;
        }
    };
    tokio::select! {
        ((), made) = futures::future::join(submitting, making) => made,
        () = telling => Vec::new(),
    }
}
