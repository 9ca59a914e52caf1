//! Ends what a worker leaves when it dies, whatever it dies of: a process of its own.
//!
//! ```text
//! worker ── write end of a pipe ──▶ standard input of the reaper, which has a session of its own
//! worker gone ─▶ end of file ─▶ remove containers of cluster + worker + epoch until none appears
//! ```
//! The lifeline ends containers by the runner's own hand. It cannot end one that was created and
//! not yet started, nor one whose hostile code has stopped the runner from listening. The sweeper
//! of the next process of the same name would; the reaper does it when there is no next one.
//!
//! The reaper cannot outlive what its worker cannot either: the machine, or a container whose
//! first process the worker is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerSummary;
use domain::id::WorkerEpoch;
use futures::StreamExt;
use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::sandbox::SlotId;
use crate::sandbox::containers::{
    LABEL_CLUSTER, LABEL_EPOCH, LABEL_SLOT, LABEL_WORKER, Removal, connect, remove_container,
};
use crate::sweeper::{Swept, list};

/// What the reaper says when it is deaf to signals and waits.
const READY: &str = "ready";
/// How long it may take to say so: a busy host starts processes slowly.
const READY_MAX: Duration = Duration::from_secs(20);
/// A reaper that ended before its worker is replaced after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A creation that the worker had asked for shows within this time: two empty listings this far
/// apart mean that nothing more comes.
const QUIET: Duration = Duration::from_secs(2);
/// An engine that lists or removes nothing for this long is left to the next worker's sweeper.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Removals at once: the engine does little more in parallel.
const REMOVALS: usize = 4;

/// How to start a process that calls [`stand_by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its first arguments; [`Job::arguments`] follow.
    pub arguments: Vec<OsString>,
}

/// Whose containers the reaper removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The engine.
    pub docker_host: String,
    /// Label of the containers.
    pub cluster: String,
    /// Label of the containers.
    pub worker: String,
    /// The process that made them: its successor's are spared.
    pub epoch: WorkerEpoch,
    /// Where the slot directories are.
    pub slot_root: PathBuf,
}

/// Why a reaper cannot be started or cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be started.
    #[error("starting {path}: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It did not say that it waits.
    #[error("{path} did not become a reaper")]
    NotReady {
        /// The program.
        path: PathBuf,
    },
    /// Its own signals or pipes fail.
    #[error("standing by: {0}")]
    Io(#[from] std::io::Error),
    /// The engine did not do it in time.
    #[error("containers of worker {worker:?} may be left: the engine did not remove them in time")]
    GaveUp {
        /// The worker.
        worker: String,
    },
}

/// A running reaper. It begins its work when this is dropped, or with the end of this process.
#[derive(Debug)]
pub(crate) struct Reaper {
    _keeping: AbortOnDropHandle<()>,
}

impl Reaper {
    /// Starts the program and waits until it stands by. It is replaced should it end early.
    pub(crate) async fn start(program: Program, job: Job) -> Result<Self, Error> {
        let mut running = Running::start(&program, &job).await?;
        let keeping = tokio::spawn(async move {
            loop {
                let ended = running.child.wait().await;
                tracing::warn!(?ended, "the reaper ended before its worker; starting another");
                running = loop {
                    sleep(AGAIN_AFTER).await;
                    match Running::start(&program, &job).await {
                        Ok(running) => break running,
                        Err(error) => tracing::warn!(%error, "no reaper"),
                    }
                };
            }
        });
        Ok(Self { _keeping: AbortOnDropHandle::new(keeping) })
    }
}

struct Running {
    child: Child,
    /// The only write end: no other process inherits it, so its closing means this one's end.
    _pipe: Option<ChildStdin>,
}

impl Running {
    async fn start(program: &Program, job: &Job) -> Result<Self, Error> {
        let path = program.path.clone();
        let mut child = Command::new(&program.path)
            .args(&program.arguments)
            .args(job.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start { path: path.clone(), source })?;
        let pipe = child.stdin.take();
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            let mut output = BufReader::new(output);
            // Whatever went wrong shows in what was said.
            let _ = timeout(READY_MAX, output.read_line(&mut said)).await;
        }
        if said.trim_end() != READY {
            let _ = child.kill().await;
            return Err(Error::NotReady { path });
        }
        Ok(Self { child, _pipe: pipe })
    }
}

impl Job {
    /// The job of the reaper of a worker's process.
    #[must_use]
    pub fn of(config: &Config, epoch: WorkerEpoch) -> Self {
        Self {
            docker_host: config.docker_host.clone(),
            cluster: config.cluster.clone(),
            worker: config.name.clone(),
            epoch,
            slot_root: config.slot_root(),
        }
    }

    /// The job as command line arguments: `--docker-host=H --cluster=C --worker=W --epoch=E
    /// --slot-root=DIR`. In one word each, because a worker's name may begin like a flag.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut slot_root = OsString::from("--slot-root=");
        slot_root.push(&self.slot_root);
        vec![
            format!("--docker-host={}", self.docker_host).into(),
            format!("--cluster={}", self.cluster).into(),
            format!("--worker={}", self.worker).into(),
            format!("--epoch={}", self.epoch).into(),
            slot_root,
        ]
    }

    fn labels(&self) -> Vec<String> {
        vec![
            format!("{LABEL_CLUSTER}={}", self.cluster),
            format!("{LABEL_WORKER}={}", self.worker),
            format!("{LABEL_EPOCH}={}", self.epoch),
        ]
    }
}

/// The whole life of a reaper's process: waits for the end of standard input, then [`reap`]s.
///
/// # Errors
/// [`Error`], when something may be left.
pub async fn stand_by(job: &Job) -> Result<Swept, Error> {
    // Out of the worker's session: what ends its process group or closes its terminal must not end
    // us too. The only way to fail is to lead a group already, and then there is nothing to leave.
    let _ = nix::unistd::setsid();
    close_inherited()?;
    // Handlers, once installed, stay; that they do nothing is the point.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let _ = signal(kind)?;
    }
    let mut output = tokio::io::stdout();
    output.write_all(format!("{READY}\n").as_bytes()).await?;
    output.flush().await?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    reap(job).await
}

/// Closes what the worker had from whoever started it: a lock or a pipe that is held as long as
/// anybody has it open. What we or the worker opened is not inherited, and marked so.
fn close_inherited() -> std::io::Result<()> {
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        // The descriptor of this very listing is among them, and marked.
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        if let (Some(number @ 3..), Some(flags)) = (number, flags)
            && !OFlag::from_bits_retain(flags).contains(OFlag::O_CLOEXEC)
        {
            inherited.push(number);
        }
    }
    for number in inherited {
        nix::unistd::close(number)?;
    }
    Ok(())
}

/// Removes every container of the job's worker process, and its slot directory, until the engine
/// has none left and nothing more appears.
///
/// # Errors
/// [`Error::GaveUp`] when the engine does not answer or does not remove them.
pub async fn reap(job: &Job) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let all = async {
        let mut quiet = false;
        loop {
            let found = match of(job).await {
                Ok((docker, found)) => Some(remove(&docker, job, &found, &mut swept).await),
                Err(reason) => {
                    tracing::warn!(%reason, "containers cannot be listed");
                    None
                }
            };
            let empty = found == Some(0);
            if empty && quiet {
                return;
            }
            quiet = empty;
            sleep(if empty { QUIET } else { QUIET / 8 }).await;
        }
    };
    let done = timeout(GIVE_UP, all).await;
    done.map_err(|_| Error::GaveUp { worker: job.worker.clone() })?;
    Ok(swept)
}

async fn of(job: &Job) -> Result<(Docker, Vec<ContainerSummary>), String> {
    // A connection of its own each time: the engine may have been started anew.
    let docker = connect(&job.docker_host).await.map_err(|error| error.to_string())?;
    let found = list(&docker, job.labels()).await.map_err(|error| error.to_string())?;
    Ok((docker, found))
}

/// The number of containers that were there.
async fn remove(
    docker: &Docker,
    job: &Job,
    found: &[ContainerSummary],
    swept: &mut Swept,
) -> usize {
    let ids = found.iter().filter_map(|container| container.id.as_deref());
    let removals = futures::stream::iter(ids)
        .map(|id| remove_container(docker, id))
        .buffer_unordered(REMOVALS)
        .filter(|removal| std::future::ready(*removal != Removal::NotThere));
    let there = removals.count().await;
    swept.containers += there;
    for container in found {
        let slot = container.labels.as_ref().and_then(|labels| labels.get(LABEL_SLOT));
        let slot = slot.and_then(|slot| slot.parse::<SlotId>().ok());
        let path = slot.map(|slot| job.slot_root.join(slot.to_string()));
        if path.is_some_and(|path| std::fs::remove_dir_all(path).is_ok()) {
            swept.directories += 1;
        }
    }
    there
}
