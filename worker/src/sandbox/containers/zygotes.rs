//! Zygotes: processes that have imported Langflow's runtime and are forked into hollow cells.
//!
//! A zygote knows no tenant and holds no secret. Children of one zygote share its memory layout and
//! its string hash seed; so it serves a limited number of forks and for a limited time, and then
//! another takes its place while its last children finish.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Mutex as AsyncMutex, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zygote::channel;
use zygote::group_files::GroupFiles;
use zygote::message::{Answer, Fork, Request};

use super::body::{self, OOM_SCORE_ADJ};
use super::helper::{Helper, receive};
use super::launchers::Launcher;
use super::{Inner, Known};
use crate::config::{Backend, PoolConfig, SandboxConfig};
use crate::runtimes::is_packaged;
use crate::sandbox::cgroup::Cgroup;
use crate::sandbox::slot::{End, SlotDir};
use crate::sandbox::{Error, SlotId};

/// Name of a zygote's socket in its directory.
const SOCKET: &str = "zygote.sock";

/// What a zygote says of a fork comes before the child is ready; this is for one that says nothing.
const GROUP_MAX: Duration = Duration::from_secs(1);

/// A zygote whose socket is closed is gone within this time.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The zygotes of a worker, by image.
#[derive(Debug)]
pub(super) struct House {
    settings: SandboxConfig,
    backends: HashMap<String, Backend>,
    images: Mutex<HashMap<String, Arc<Family>>>,
    pub(super) closed: CancellationToken,
    growth: TaskTracker,
}

/// The zygotes of one image, and the launchers by its digest.
#[derive(Debug, Default)]
struct Family {
    members: AsyncMutex<Vec<Arc<Zygote>>>,
    growing: AtomicBool,
    launchers: AsyncMutex<HashMap<String, Arc<Launcher>>>,
    /// This image has none on this host.
    hopeless: AtomicBool,
}

impl House {
    pub(super) fn new(settings: &SandboxConfig, pool: &PoolConfig) -> Self {
        let own = pool.images.iter().filter_map(|i| Some((i.image.clone(), i.backend?)));
        Self {
            settings: settings.clone(),
            backends: own.collect(),
            images: Mutex::default(),
            closed: CancellationToken::new(),
            growth: TaskTracker::new(),
        }
    }

    /// How cells of this image are made.
    pub(super) fn backend(&self, image: &str) -> Backend {
        // Importing a tenant's packages runs the tenant's code: nothing of it is shared.
        if is_packaged(image) {
            return Backend::Warm;
        }
        match self.backends.get(image).copied().unwrap_or(self.settings.backend) {
            Backend::Auto if self.family(image).hopeless.load(Ordering::Relaxed) => Backend::Warm,
            backend => backend,
        }
    }

    /// From now on, cells of this image are made without a zygote.
    pub(super) fn give_up(&self, image: &str, reason: &str) {
        if !self.family(image).hopeless.swap(true, Ordering::Relaxed) {
            tracing::warn!(%image, reason, "no zygote here: cells import everything themselves");
        }
    }

    fn family(&self, image: &str) -> Arc<Family> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.entry(image.to_owned()).or_default().clone()
    }

    /// A zygote of this image; the first one is waited for.
    pub(super) async fn zygote(
        &self,
        inner: &Arc<Inner>,
        image: &str,
    ) -> Result<Arc<Zygote>, Error> {
        let family = self.family(image);
        let mut members = family.members.lock().await;
        if self.closed.is_cancelled() {
            return Err(Error::Died);
        }
        members.retain(|zygote| !zygote.is_closed());
        if members.is_empty() {
            members.push(Zygote::start(inner, image).await?);
        }
        let fresh = members.iter().filter(|zygote| !zygote.is_worn(&self.settings)).count();
        if fresh < self.settings.zygotes() && !family.growing.swap(true, Ordering::Relaxed) {
            self.growth.spawn(grow(inner.clone(), family.clone(), image.to_owned()));
        }
        let least_used = members.iter().min_by_key(|zygote| zygote.forks.load(Ordering::Relaxed));
        least_used.cloned().ok_or_else(|| Error::Zygote { reason: "none was started".into() })
    }

    /// The launcher of the very image that a zygote is of; the first one, or one after a dead one,
    /// is waited for.
    pub(super) async fn launcher(
        &self,
        inner: &Arc<Inner>,
        image: &str,
        zygote: &Zygote,
    ) -> Result<Arc<Launcher>, Error> {
        let family = self.family(image);
        let mut launchers = family.launchers.lock().await;
        if let Some(launcher) = launchers.get(&zygote.image).filter(|found| !found.is_closed()) {
            return Ok(launcher.clone());
        }
        // Those of an earlier image end with their last cell.
        let used: Vec<_> = family.members.lock().await.iter().map(|z| z.image.clone()).collect();
        launchers.retain(|digest, _| used.contains(digest));
        let launcher = Launcher::start(inner, &zygote.image).await?;
        launchers.insert(zygote.image.clone(), launcher.clone());
        Ok(launcher)
    }

    /// Ends zygotes and launchers; returns when those without children are gone.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.growth.close();
        self.growth.wait().await;
        let families: Vec<_> = {
            let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            images.values().cloned().collect()
        };
        for family in families {
            let launchers = std::mem::take(&mut *family.launchers.lock().await);
            let members = std::mem::take(&mut *family.members.lock().await);
            let zygotes = members.into_iter().map(|zygote| zygote.gone.clone());
            // Each is dropped as soon as its end is being watched, and ends by that.
            for mut gone in launchers.into_values().map(|launcher| launcher.gone()).chain(zygotes) {
                let _ = timeout(CLOSE_MAX, gone.wait_for(Option::is_some)).await;
            }
        }
    }
}

/// Adds a zygote, and lets a worn one go.
async fn grow(inner: Arc<Inner>, family: Arc<Family>, image: String) {
    let started = Zygote::start(&inner, &image).await;
    let mut members = family.members.lock().await;
    match started {
        Ok(zygote) => {
            let settings = &inner.house.settings;
            if let Some(worn) = members.iter().position(|zygote| zygote.is_worn(settings)) {
                members.swap_remove(worn);
            }
            members.push(zygote);
        }
        Err(_) if inner.house.closed.is_cancelled() => {}
        Err(error) => tracing::warn!(%image, %error, "another zygote could not be started"),
    }
    family.growing.store(false, Ordering::Relaxed);
}

/// One zygote. It ends when the last of its children and its place in the house are gone.
#[derive(Debug)]
pub(super) struct Zygote {
    /// The digest of its image. Its cells are made of the same.
    pub(super) image: String,
    control: UnixStream,
    born: Instant,
    forks: AtomicU32,
    closed: AtomicBool,
    /// Of an image from before zygotes told of their forks.
    taciturn: AtomicBool,
    children: Mutex<HashMap<u64, Awaited>>,
    gone: watch::Receiver<Option<End>>,
    _dir: SlotDir,
    _known: Known,
}

/// What is yet to be heard of a child.
#[derive(Debug)]
struct Awaited {
    /// Until it is forked.
    group: Option<oneshot::Sender<Cgroup>>,
    fate: watch::Sender<Option<Fate>>,
}

/// What became of a child.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It ended, with this exit code, or 128 and a signal.
    Ended(i32),
    /// It was never forked.
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The kernel's error.
        error: Arc<io::Error>,
    },
}

/// A forked runner.
#[derive(Debug)]
pub(crate) struct Child {
    slot: u64,
    group: Option<oneshot::Receiver<Cgroup>>,
    fate: watch::Receiver<Option<Fate>>,
    end: watch::Receiver<Option<End>>,
    zygote: Arc<Zygote>,
}

impl Zygote {
    async fn start(inner: &Arc<Inner>, image: &str) -> Result<Arc<Self>, Error> {
        let body = |id, dir: &SlotDir| body::zygote(inner, id, image, dir);
        let helper = Helper::start(inner, "zygote", SOCKET, body).await.map_err(unavailable)?;
        let Helper { container, image: digest, reading, control, gone, dir, known } = helper;
        let zygote = Arc::new(Self {
            image: digest,
            control,
            born: Instant::now(),
            forks: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            taciturn: AtomicBool::new(false),
            children: Mutex::default(),
            gone,
            _dir: dir,
            _known: known,
        });
        tokio::spawn(listen(reading, Arc::downgrade(&zygote)));
        tracing::info!(%image, container.id = %container, "zygote is ready");
        Ok(zygote)
    }

    /// Forks a child into the cell of that process, and returns it with our end of its socket.
    pub(super) async fn fork(
        self: &Arc<Self>,
        id: SlotId,
        process: &OwnedFd,
        open_files: u32,
    ) -> Result<(Child, UnixStream), Error> {
        let io = |source| Error::Io { doing: "asking the zygote", source };
        let (ours, theirs) = StdStream::pair().map_err(io)?;
        ours.set_nonblocking(true).map_err(io)?;
        let ours = UnixStream::from_std(ours).map_err(io)?;
        let request = Request::Fork(Fork {
            slot: id.number(),
            open_files,
            oom_score_adj: i32::try_from(OOM_SCORE_ADJ).unwrap_or(0),
        });
        let child = self.expect(id);
        let descriptors = [process.as_raw_fd(), theirs.as_raw_fd()];
        let send = || channel::send(self.control.as_fd(), &request.encode(), &descriptors);
        self.control.async_io(Interest::WRITABLE, send).await.map_err(io)?;
        self.forks.fetch_add(1, Ordering::Relaxed);
        Ok((child, ours))
    }

    fn expect(self: &Arc<Self>, id: SlotId) -> Child {
        let (sender, fate) = watch::channel(None);
        let (group_sender, group) = oneshot::channel();
        let awaited = Awaited { group: Some(group_sender), fate: sender };
        self.children().insert(id.number(), awaited);
        let (end_sender, end) = watch::channel(None);
        let mut follow = fate.clone();
        tokio::spawn(async move {
            let status = match follow.wait_for(Option::is_some).await.ok().and_then(|f| f.clone()) {
                Some(Fate::Ended(status)) => Some(i64::from(status)),
                _ => None,
            };
            // Nobody may be left who wants to know.
            let _ = end_sender.send(Some(End { exit_code: status }));
        });
        Child { slot: id.number(), group: Some(group), fate, end, zygote: self.clone() }
    }

    fn children(&self) -> MutexGuard<'_, HashMap<u64, Awaited>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A container for a child of it could not be made. When its image is gone from the engine,
    /// none ever will be: another zygote, of what the name stands for now, takes its place.
    pub(super) fn failed(&self, error: &Error) {
        if matches!(error, Error::ImageMissing { .. }) {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether another one should take its place.
    fn is_worn(&self, settings: &SandboxConfig) -> bool {
        self.forks.load(Ordering::Relaxed) >= settings.zygote_forks_max
            || self.born.elapsed() >= Duration::from_secs(settings.zygote_age_s_max)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // The reader has a copy of the descriptor; only this tells the other side.
        let socket = nix::sys::socket::Shutdown::Both;
        let _ = nix::sys::socket::shutdown(self.control.as_raw_fd(), socket);
    }
}

impl Child {
    /// Its control group, once it is ready; `None` when the zygote is gone or says nothing of it.
    pub(super) async fn group(&mut self) -> Option<Cgroup> {
        let taciturn = &self.zygote.taciturn;
        let said = self.group.take().filter(|_| !taciturn.load(Ordering::Relaxed))?;
        let Ok(group) = timeout(GROUP_MAX, said).await else {
            taciturn.store(true, Ordering::Relaxed);
            tracing::warn!(image = %self.zygote.image, "an older zygote: control groups of its cells cannot be seen");
            return None;
        };
        group.ok()
    }

    /// What became of it; `None` when its zygote died first.
    pub(super) async fn fate(&mut self) -> Option<Fate> {
        self.fate.wait_for(Option::is_some).await.ok().and_then(|fate| fate.clone())
    }

    /// Its end, as every backend tells it.
    pub(super) fn end(&self) -> watch::Receiver<Option<End>> {
        self.end.clone()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.zygote.children().remove(&self.slot);
    }
}

/// Hands the zygote's answers to whom they concern. Without a zygote, children live on, but
/// nobody will hear how they ended.
async fn listen(reading: UnixStream, zygote: Weak<Zygote>) {
    loop {
        let answer = match receive(&reading).await {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "a zygote's answer cannot be read");
                break;
            }
        };
        let Some(zygote) = zygote.upgrade() else { return };
        let (answer, descriptors) = answer;
        if let Some(awaited) = zygote.children().get_mut(&answer.slot()) {
            awaited.hear(answer, descriptors);
        }
    }
    if let Some(zygote) = zygote.upgrade() {
        tracing::warn!("a zygote ended");
        zygote.closed.store(true, Ordering::Relaxed);
        zygote.children().clear();
    }
}

impl Awaited {
    fn hear(&mut self, answer: Answer, descriptors: Vec<OwnedFd>) {
        let fate = match answer {
            Answer::Forked { is_unified, files, .. } => {
                let group = GroupFiles::of_descriptors(is_unified, files, descriptors);
                if let (Some(sender), Some(group)) = (self.group.take(), group) {
                    // Whoever asked may have given up.
                    let _ = sender.send(Cgroup::new(group));
                }
                return;
            }
            Answer::Ended { status, .. } => Fate::Ended(status),
            Answer::Failed { step, errno, .. } => {
                let error = Arc::new(io::Error::from_raw_os_error(errno));
                Fate::Failed { doing: step.doing(), error }
            }
            Answer::Done { .. } => return,
        };
        self.group = None;
        self.fate.send_replace(Some(fate));
    }
}

/// Why there is no zygote. What a busy host or an engine that restarts is to blame for says nothing
/// about the next one, and without zygotes every cell would cost that host thirty times as much.
fn unavailable(error: Error) -> Error {
    match error {
        Error::NotReady { .. }
        | Error::EngineUnreachable { .. }
        | Error::ImageMissing { .. }
        | Error::Died => error,
        other => Error::Zygote { reason: other.to_string() },
    }
}

/// What the first process of a cell sends: a descriptor of itself.
pub(super) async fn first_process(stream: &UnixStream) -> io::Result<OwnedFd> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a first process of ours");
    match receive(stream).await? {
        Some((Answer::Done { .. }, mut descriptors)) if descriptors.len() == 1 => {
            descriptors.pop().ok_or_else(wrong)
        }
        Some((Answer::Failed { step, errno, .. }, _)) => {
            let error = io::Error::from_raw_os_error(errno);
            Err(io::Error::new(error.kind(), format!("{}: {error}", step.doing())))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_host_is_no_reason_to_do_without_zygotes() {
        let slow = Error::NotReady { after_ms: 120_000, stderr: String::new() };
        assert!(matches!(unavailable(slow), Error::NotReady { .. }));
        let unable = Error::Exited { exit_code: Some(1), stderr: String::new() };
        assert!(matches!(unavailable(unable), Error::Zygote { .. }));
    }
}
