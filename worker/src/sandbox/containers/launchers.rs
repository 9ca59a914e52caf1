//! Launchers: processes that make cells without the engine, one for each image.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domain::limits::CellLimits;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use zygote::channel;
use zygote::message::{Answer, Launch, Limit, Request};

use super::body::{self, CPU_SHARES_RUNNING, CPU_SHARES_WARMING, OOM_SCORE_ADJ, SHM_BYTES};
use super::helper::{Helper, receive};
use super::{Inner, Known, LIFELINE_MAX, Owner};
use crate::sandbox::slot::{End, SlotDir};
use crate::sandbox::{Error, SlotId, SlotSpec};

/// Name of a launcher's socket in its directory.
const SOCKET: &str = "launcher.sock";
/// A launcher changes limits at once.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One launcher. It ends when the last of its cells and its place in the house are gone.
#[derive(Debug)]
pub(super) struct Launcher {
    control: UnixStream,
    closed: AtomicBool,
    asked: Mutex<Asked>,
    gone: watch::Receiver<Option<End>>,
    _dir: SlotDir,
    _known: Known,
}

/// What answers are awaited, by slot.
#[derive(Debug, Default)]
struct Asked {
    cells: HashMap<u64, watch::Sender<Option<End>>>,
    limits: HashMap<u64, oneshot::Sender<io::Result<()>>>,
}

/// A cell that a launcher has made.
#[derive(Debug)]
pub(crate) struct Launched {
    slot: u64,
    launcher: Arc<Launcher>,
    end: watch::Receiver<Option<End>>,
    process: Option<OwnedFd>,
}

impl Launcher {
    pub(super) async fn start(inner: &Arc<Inner>, image: &str) -> Result<Arc<Self>, Error> {
        let owner = group_of(&inner.owner, image);
        let body = |id, dir: &SlotDir| body::launcher(inner, id, image, dir, &owner);
        let helper = Helper::start(inner, "launcher", SOCKET, body)
            .await
            .map_err(|error| Error::Launcher { reason: error.to_string() })?;
        let Helper { container, reading, control, gone, dir, known, .. } = helper;
        let launcher = Arc::new(Self {
            control,
            closed: AtomicBool::new(false),
            asked: Mutex::default(),
            gone,
            _dir: dir,
            _known: known,
        });
        tokio::spawn(listen(reading, Arc::downgrade(&launcher)));
        tracing::info!(%image, container.id = %container, "launcher is ready");
        Ok(launcher)
    }

    /// Makes a cell, and returns it with our end of the socket that its life hangs on.
    pub(super) async fn launch(
        self: &Arc<Self>,
        id: SlotId,
        spec: &SlotSpec,
        limits: &CellLimits,
    ) -> Result<(Launched, UnixStream), Error> {
        let io = |source| Error::Io { doing: "asking the launcher", source };
        let (ours, theirs) = StdStream::pair().map_err(io)?;
        ours.set_nonblocking(true).map_err(io)?;
        let ours = UnixStream::from_std(ours).map_err(io)?;
        let (sender, end) = watch::channel(None);
        self.asked().cells.insert(id.number(), sender);
        let launched = Launched { slot: id.number(), launcher: self.clone(), end, process: None };
        let request = Request::Launch(Launch {
            limits: limit_of(id.number(), limits, CPU_SHARES_WARMING),
            tmpfs_bytes: spec.tmpfs_bytes,
            shm_bytes: u64::try_from(SHM_BYTES).unwrap_or(0),
            oom_score_adj: i32::try_from(OOM_SCORE_ADJ).unwrap_or(0),
        });
        self.send(request, Some(&theirs)).await.map_err(io)?;
        Ok((launched, ours))
    }

    async fn send(&self, request: Request, socket: Option<&StdStream>) -> io::Result<()> {
        let descriptors: Vec<_> = socket.iter().map(|socket| socket.as_raw_fd()).collect();
        let send = || channel::send(self.control.as_fd(), &request.encode(), &descriptors);
        self.control.async_io(Interest::WRITABLE, send).await
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The removal of its container.
    pub(super) fn gone(&self) -> watch::Receiver<Option<End>> {
        self.gone.clone()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The reader has a copy of the descriptor; only this tells the other side.
        let socket = nix::sys::socket::Shutdown::Both;
        let _ = nix::sys::socket::shutdown(self.control.as_raw_fd(), socket);
    }
}

impl Launched {
    /// Its end, and that of its control groups.
    pub(super) fn end(&self) -> watch::Receiver<Option<End>> {
        self.end.clone()
    }

    /// Its first process, which can be killed from now on.
    pub(super) fn met(&mut self, process: OwnedFd) {
        self.process = Some(process);
    }

    /// Gives the cell a task's limits and its full weight.
    pub(super) async fn fit(&self, limits: &CellLimits) -> Result<(), Error> {
        let failed = |reason: String| Error::Engine { doing: "changing a cell's limits", reason };
        let (sender, answer) = oneshot::channel();
        self.launcher.asked().limits.insert(self.slot, sender);
        let shares = i64::try_from(CPU_SHARES_RUNNING).unwrap_or(CPU_SHARES_WARMING);
        let request = Request::Limit(limit_of(self.slot, limits, shares));
        self.launcher.send(request, None).await.map_err(|error| failed(error.to_string()))?;
        match timeout(ANSWER_MAX, answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::ResourceBusy => {
                let reason = error.to_string();
                Err(Error::MemoryTooSmall { memory_bytes: limits.memory_bytes, reason })
            }
            Ok(Ok(Err(error))) => Err(failed(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(failed("the launcher does not answer".into())),
        }
    }

    /// Kills a cell that has survived the end of its socket.
    pub(super) async fn kill(&self) {
        let killed = self.process.as_ref().map(|process| zygote::init::kill(process.as_fd()));
        let mut end = self.end();
        let ended = timeout(LIFELINE_MAX, end.wait_for(Option::is_some)).await;
        if ended.is_err() {
            tracing::warn!(slot = %format_args!("{:016x}", self.slot), ?killed, "a cell does not end");
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let mut asked = self.launcher.asked();
        asked.cells.remove(&self.slot);
        asked.limits.remove(&self.slot);
    }
}

/// Hands the launcher's answers to whom they concern. Without a launcher, cells live on as long as
/// their sockets, and the next launcher removes their control groups.
async fn listen(reading: UnixStream, launcher: Weak<Launcher>) {
    loop {
        let answer = match receive(&reading).await {
            Ok(Some((answer, _))) => answer,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "a launcher's answer cannot be read");
                break;
            }
        };
        let Some(launcher) = launcher.upgrade() else { return };
        launcher.asked().hear(answer);
    }
    if let Some(launcher) = launcher.upgrade() {
        tracing::warn!("a launcher ended");
        launcher.closed.store(true, Ordering::Relaxed);
        *launcher.asked() = Asked::default();
    }
}

impl Asked {
    fn hear(&mut self, answer: Answer) {
        let slot = answer.slot();
        let ended = match answer {
            Answer::Ended { status, .. } => status,
            Answer::Done { .. } | Answer::Failed { .. } if self.limits.contains_key(&slot) => {
                let result = match answer {
                    Answer::Failed { errno, .. } => Err(io::Error::from_raw_os_error(errno)),
                    _ => Ok(()),
                };
                if let Some(sender) = self.limits.remove(&slot) {
                    // Whoever asked may have given up.
                    let _ = sender.send(result);
                }
                return;
            }
            Answer::Failed { step, errno, .. } => {
                let error = io::Error::from_raw_os_error(errno);
                tracing::warn!(doing = step.doing(), %error, "a cell could not be made");
                step.exit_code()
            }
            Answer::Done { .. } | Answer::Forked { .. } => return,
        };
        if let Some(sender) = self.cells.get(&slot) {
            sender.send_replace(Some(End { exit_code: Some(ended.into()) }));
        }
    }
}

fn limit_of(slot: u64, limits: &CellLimits, cpu_shares: i64) -> Limit {
    Limit {
        slot,
        memory_bytes: limits.memory_bytes,
        pids: limits.pids,
        cpu_millis: limits.cpu_millis,
        cpu_shares: u32::try_from(cpu_shares).unwrap_or(0),
    }
}

/// The name of the control group that holds a worker's cells of one image; the same after a
/// restart, so that what is left there is found.
fn group_of(owner: &Owner, image: &str) -> String {
    // FNV-1a: a name, not a secret.
    let text = [owner.cluster.as_str(), &owner.worker, image].join("\0");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
