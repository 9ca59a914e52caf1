//! The folders that cells see, kept where workers cannot exchange them.
//!
//! The engine mounts what a path leads to when a container starts. A worker that owned that path
//! could put a link to `/` there after it was checked. So a folder is taken out of the worker's
//! hands first:
//! ```text
//! BINDS/<user>/<worker>/<slot>      made by the worker; becomes a link for it
//! BINDS/kept/<user>/<slot>          the same folder, moved here, root's; this is what is mounted
//! ```
//! In it the worker may still make sockets and files, but, as in `/tmp`, remove only its own. The
//! file `hosts`, which is mounted by itself, becomes root's too; the worker may write into it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat, openat2, renameat2,
};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, symlinkat};

use crate::Error;
use crate::peer::Peer;
use crate::refusal::Refusal;

/// The gate's own folder below the one that is allowed.
const KEPT: &str = "kept";
const HOSTS: &str = "hosts";
/// Root, whose everything here becomes.
const ROOT: Option<Uid> = Some(Uid::from_raw(0));

/// Where the folders are.
#[derive(Debug)]
pub(crate) struct Slots {
    binds: PathBuf,
    users: Vec<u32>,
    root: OwnedFd,
    /// Folders whose container is being made: the engine does not list it yet.
    making: Mutex<HashSet<PathBuf>>,
}

/// A folder that is the gate's now. Until [`Adopted::keep`] it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Adopted<'a> {
    slots: &'a Slots,
    path: PathBuf,
    is_kept: bool,
}

impl Slots {
    /// Makes a folder for each of these users, and those of the gate's own.
    pub(crate) fn open(binds: &Path, users: &[u32]) -> Result<Self, Error> {
        let plain = binds.is_absolute()
            && binds
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !plain || binds == Path::new("/") {
            let text = "--allow-binds is an absolute path without dots, and not /";
            return Err(Error::Config(text.into()));
        }
        let at = |source: Errno| Error::Io {
            doing: "preparing",
            path: binds.to_owned(),
            source: source.into(),
        };
        std::fs::create_dir_all(binds).map_err(|source| Error::Io {
            doing: "making",
            path: binds.to_owned(),
            source,
        })?;
        let folder = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = open(binds, folder, Mode::empty()).map_err(at)?;
        fchown(&root, ROOT, Some(Gid::from_raw(0))).map_err(at)?;
        fchmod(&root, Mode::from_bits_truncate(0o755)).map_err(at)?;
        let (binds, users) = (binds.to_owned(), users.to_owned());
        let slots = Self { binds, users, root, making: Mutex::default() };
        slots.prepare().map_err(at)?;
        Ok(slots)
    }

    fn prepare(&self) -> nix::Result<()> {
        let kept = folder(&self.root, KEPT, ROOT, None, 0o755)?;
        for user in &self.users {
            let name = user.to_string();
            folder(&self.root, name.as_str(), Some(Uid::from_raw(*user)), None, 0o700)?;
            // The group is set with the first slot: here only the user is known.
            folder(&kept, name.as_str(), ROOT, None, 0o710)?;
        }
        Ok(())
    }

    /// Takes a worker's folder, and leaves a link in its place.
    pub(crate) fn adopt(
        &self,
        source: &Path,
        slot: &str,
        peer: Peer,
    ) -> Result<Adopted<'_>, Refusal> {
        let own = Path::new(&peer.user.to_string()).to_owned();
        let inner = source.strip_prefix(self.binds.join(&own)).map_err(|_| self.outside(source))?;
        let plain = inner.components().all(|part| matches!(part, Component::Normal(_)));
        let (parent, name) = (inner.parent(), inner.file_name().and_then(|name| name.to_str()));
        let (Some(parent), true, true) = (parent, plain, name == Some(slot)) else {
            return Err(self.outside(source));
        };
        let path = self.binds.join(KEPT).join(&own).join(slot);
        self.making().insert(path.clone());
        let adopted = Adopted { slots: self, path, is_kept: false };
        self.take(&own.join(parent), slot, peer, &adopted.path)
            .map_err(|error| Refusal::new("folder", format!("{}: {error}", source.display())))?;
        Ok(adopted)
    }

    fn outside(&self, source: &Path) -> Refusal {
        let (source, binds) = (source.display(), self.binds.display());
        Refusal::new(
            "binds",
            format!("{source} is no slot's folder below {binds}/<user> (worker.socket_dir)"),
        )
    }

    fn take(&self, parent: &Path, slot: &str, peer: Peer, path: &Path) -> nix::Result<()> {
        let from = beneath(&self.root, parent)?;
        let user = peer.user.to_string();
        let to = beneath(&self.root, &Path::new(KEPT).join(user))?;
        fchown(&to, None, Some(Gid::from_raw(peer.group)))?;
        renameat2(&from, slot, &to, slot, RenameFlags::RENAME_NOREPLACE)?;
        // From here on, nobody else can exchange it: what it is, is looked at now.
        let inside = beneath(&to, Path::new(slot))?;
        must_be(&fstat(&inside)?, SFlag::S_IFDIR, peer)?;
        let group = Some(Gid::from_raw(peer.group));
        fchown(&inside, ROOT, group)?;
        fchmod(&inside, Mode::from_bits_truncate(0o1775))?;
        self.take_hosts(&inside, peer)?;
        symlinkat(path, &from, slot)
    }

    fn take_hosts(&self, inside: &OwnedFd, peer: Peer) -> nix::Result<()> {
        let plain = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let hosts = openat(inside, HOSTS, plain, Mode::empty())?;
        let found = fstat(&hosts)?;
        must_be(&found, SFlag::S_IFREG, peer)?;
        if found.st_nlink != 1 {
            return Err(Errno::EMLINK);
        }
        fchown(&hosts, ROOT, Some(Gid::from_raw(peer.group)))?;
        fchmod(&hosts, Mode::from_bits_truncate(0o664))?;
        // The name may have been given to another file before this one was root's.
        let named = fstatat(inside, HOSTS, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if named.st_ino == found.st_ino && named.st_dev == found.st_dev {
            Ok(())
        } else {
            Err(Errno::ESTALE)
        }
    }

    /// The folders that the gate keeps, by slot, without those whose container is being made.
    pub(crate) fn kept(&self) -> Vec<(String, PathBuf)> {
        let below = |path: PathBuf| {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path())
        };
        let kept = self.binds.join(KEPT);
        let own = self.users.iter().map(|user| kept.join(user.to_string()));
        let found: Vec<PathBuf> = own.flat_map(below).collect();
        // Looked at after the folders: whoever is not in it any more has a container.
        let making = self.making().clone();
        let slot = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let free = found.into_iter().filter(|path| !making.contains(path));
        free.filter_map(|path| Some((slot(&path)?, path))).collect()
    }

    fn making(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adopted<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its container exists.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Adopted<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            remove(&self.path);
        }
        self.slots.making().remove(&self.path);
    }
}

/// Removes a kept folder. What a worker put there is not followed anywhere.
pub(crate) fn remove(path: &Path) {
    let removed = match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            std::fs::remove_file(path)
        }
        removed => removed,
    };
    if let Err(error) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a slot's folder stays");
    }
}

/// A folder below another one, on a way without links.
fn beneath(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let ways = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    openat2(root, path, OpenHow::new().flags(flags).resolve(ways))
}

/// Makes a folder, or makes one that is there what it should be.
fn folder(
    parent: &OwnedFd,
    name: &str,
    owner: Option<Uid>,
    group: Option<Gid>,
    mode: u32,
) -> nix::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let made = beneath(parent, Path::new(name))?;
    fchown(&made, owner, group)?;
    fchmod(&made, Mode::from_bits_truncate(mode))?;
    Ok(made)
}

fn must_be(found: &FileStat, kind: SFlag, peer: Peer) -> nix::Result<()> {
    if found.st_mode & SFlag::S_IFMT.bits() != kind.bits() {
        return Err(Errno::EINVAL);
    }
    if found.st_uid != peer.user {
        return Err(Errno::EPERM);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
