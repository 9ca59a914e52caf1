//! A container made ahead, and its directory on this host.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Instant;

use proto::frame::{EgressBody, Ready};
use tokio::io::AsyncWrite;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::cgroup::Cgroup;
use super::connection::Connection;
use super::containers::{Child, Launched};
use egress::{Policy, Proxy, forward};

/// Name of the frame socket, as `FRAMES.md` says.
pub(crate) const CELL_SOCKET: &str = "cell.sock";
/// Name of the proxy's socket.
pub(crate) const EGRESS_SOCKET: &str = "egress.sock";
/// Name of the file that is the container's `/etc/hosts`.
pub(crate) const HOSTS_FILE: &str = "hosts";
/// Where the directory is inside the container.
pub(crate) const MOUNT_POINT: &str = "/run/flowcell";

/// Names a slot on this host; part of the container's name and of its directory's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(u64);

impl SlotId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// As it travels to a zygote.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotId({self})")
    }
}

impl FromStr for SlotId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// What cannot be changed once a container exists. Slots of equal specs are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotSpec {
    /// The image.
    pub image: String,
    /// Size of `/tmp`.
    pub tmpfs_bytes: u64,
}

/// A container that waits for its one task, or has it.
pub struct Slot {
    /// Its name here.
    pub id: SlotId,
    /// What it was made as.
    pub spec: SlotSpec,
    /// The engine's id of the container; `native-` and the slot when the engine knows of none.
    pub container: String,
    /// What its runner said of itself.
    pub ready: Ready,
    /// When it became ready.
    pub since: Instant,
    pub(crate) dir: SlotDir,
    pub(crate) connection: Option<Connection>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) cgroup: Option<Cgroup>,
    /// The end of its runner.
    pub(crate) end: watch::Receiver<Option<End>>,
    /// The removal of its container.
    pub(crate) gone: watch::Receiver<Option<End>>,
    /// Held open as long as the container may live.
    pub(crate) lifeline: Option<Lifeline>,
    /// The runner, when a zygote forked it; keeps that zygote.
    pub(crate) _child: Option<Child>,
    /// The cell, when a launcher made it instead of the engine.
    pub(crate) cell: Option<Launched>,
}

/// What a container's life hangs on; held only to be dropped.
#[expect(dead_code, reason = "held only to be dropped")]
pub(crate) enum Lifeline {
    /// The runner's standard input: at its end of file the runner exits, if its user code lets it.
    /// The lock only makes it shareable.
    Input(Mutex<Pin<Box<dyn AsyncWrite + Send>>>),
    /// The socket of a first process of ours: at its end it exits, and the kernel kills the rest.
    Socket(UnixStream),
}

impl Lifeline {
    pub(crate) fn input(input: Pin<Box<dyn AsyncWrite + Send>>) -> Self {
        Self::Input(Mutex::new(input))
    }

    pub(crate) fn socket(stream: UnixStream) -> Self {
        Self::Socket(stream)
    }

    /// Whether cutting it ends the container whatever runs inside.
    pub(crate) fn is_reliable(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Its exit code, when the engine told.
    pub(crate) exit_code: Option<i64>,
}

impl Slot {
    /// Whether the container still runs, as far as is known here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.end.borrow().is_none() && self.gone.borrow().is_none()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("id", &self.id)
            .field("spec", &self.spec)
            .field("container", &self.container)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// The directory that one container sees at `/run/flowcell`; removed when dropped.
#[derive(Debug)]
pub(crate) struct SlotDir {
    path: PathBuf,
}

impl SlotDir {
    /// Makes the directory. The parent keeps everybody else on this host out; the directory
    /// itself has to be open to the container's user.
    pub(crate) fn create(root: &Path, id: SlotId) -> io::Result<Self> {
        let path = root.join(id.to_string());
        std::fs::create_dir(&path)?;
        let made = Self { path };
        std::fs::set_permissions(&made.path, Permissions::from_mode(0o755))?;
        made.write_hosts(forward::HOSTS)?;
        std::fs::set_permissions(made.path.join(HOSTS_FILE), Permissions::from_mode(0o644))?;
        Ok(made)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A socket in the directory that the container's user may connect to.
    pub(crate) fn listen(&self, name: &str) -> io::Result<UnixListener> {
        let path = self.path.join(name);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(listener)
    }

    /// Opens the way out that the rules allow: the proxy's socket, and an address inside the
    /// container for each destination that is reached by plain TCP. Before the task is sent, so
    /// that its names resolve from the beginning.
    pub(crate) fn open_egress(&self, policy: Policy) -> io::Result<(Proxy, EgressBody)> {
        let forwards = forward::plan(&policy.rules);
        if !forwards.is_empty() {
            self.write_hosts(&forward::hosts(&forwards))?;
        }
        let proxy = Proxy::open(self.listen(EGRESS_SOCKET)?, policy);
        Ok((proxy, EgressBody { socket: format!("{MOUNT_POINT}/{EGRESS_SOCKET}"), forwards }))
    }

    /// Writes the file in place: a mount of it shows what stands in this very file.
    fn write_hosts(&self, text: &str) -> io::Result<()> {
        std::fs::write(self.path.join(HOSTS_FILE), text)
    }

    /// Removes a socket: nobody else can connect.
    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }
}

impl Drop for SlotDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the sweeper.
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "slot directory stays");
        }
    }
}

/// Makes the directory of all slots, which only this user may enter.
pub(crate) fn create_root(root: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    std::fs::set_permissions(root, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_text() {
        let id = SlotId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse::<SlotId>().unwrap(), id);
        assert!("x".parse::<SlotId>().is_err());
    }

    #[tokio::test]
    async fn the_directory_is_open_inside_and_closed_outside() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("w");
        create_root(&root).unwrap();
        create_root(&root).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        let dir = SlotDir::create(&root, SlotId(1)).unwrap();
        let _listener = dir.listen(CELL_SOCKET).unwrap();
        assert_eq!(mode(dir.path()), 0o755);
        assert_eq!(mode(&dir.path().join(CELL_SOCKET)), 0o666);
        assert_eq!(mode(&dir.path().join(HOSTS_FILE)), 0o644);
        let path = dir.path().to_owned();
        drop(dir);
        assert!(!path.exists());
    }
}
