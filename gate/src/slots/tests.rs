use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

const SLOT: &str = "00000000000000ab";

/// Folders of a worker that runs as whoever runs this test. Giving them to root needs root.
struct World {
    dir: tempfile::TempDir,
    slots: Slots,
    peer: Peer,
}

fn world() -> Option<World> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: folders are given to root, which only root can do");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    // Not root: the worker's own user.
    let peer = Peer { user: 65_541, group: 65_541 };
    let slots = Slots::open(dir.path(), &[peer.user]).unwrap();
    let world = World { dir, slots, peer };
    world.make("worker-1", |_| {});
    Some(world)
}

impl World {
    fn source(&self) -> PathBuf {
        self.dir.path().join(format!("{}/worker-1/{SLOT}", self.peer.user))
    }

    /// Makes something below the worker's folder, as the worker.
    fn make(&self, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
        let path = self.dir.path().join(self.peer.user.to_string()).join(name);
        std::fs::create_dir(&path).unwrap();
        fill(&path);
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        std::os::unix::fs::lchown(path, Some(self.peer.user), Some(self.peer.group)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            std::fs::read_dir(path).unwrap().for_each(|entry| self.give(&entry.unwrap().path()));
        }
    }

    fn slot(&self) -> PathBuf {
        self.make(&format!("worker-1/{SLOT}"), |path| {
            std::fs::write(path.join("hosts"), "127.0.0.1 localhost").unwrap();
        })
    }

    fn adopt(&self) -> Result<Adopted<'_>, Refusal> {
        self.slots.adopt(&self.source(), SLOT, self.peer)
    }
}

#[test]
fn an_adopted_folder_is_root_s_and_the_worker_still_finds_it() {
    let Some(world) = world() else { return };
    let source = world.slot();
    let adopted = world.adopt().unwrap();
    let path = adopted.path().to_owned();
    assert!(path.starts_with(world.dir.path().join("kept")));
    let (folder, hosts) = (path.metadata().unwrap(), path.join("hosts").metadata().unwrap());
    assert_eq!((folder.uid(), folder.permissions().mode() & 0o7777), (0, 0o1775));
    assert_eq!((hosts.uid(), hosts.permissions().mode() & 0o7777), (0, 0o664));
    assert_eq!(source.read_link().unwrap(), path);
    assert!(world.slots.kept().is_empty(), "its container is being made");
    adopted.keep();
    assert_eq!(world.slots.kept(), [(SLOT.to_owned(), path.clone())]);
    // A worker that removes its folder removes the link.
    std::fs::remove_dir_all(&source).unwrap();
    assert!(path.exists());
    remove(&path);
    assert!(!path.exists());
}

#[test]
fn a_folder_whose_container_was_not_made_goes() {
    let Some(world) = world() else { return };
    world.slot();
    let path = world.adopt().unwrap().path().to_owned();
    assert!(!path.exists());
}

#[test]
fn links_are_not_followed_anywhere() {
    let Some(world) = world() else { return };
    // In the place of the slot.
    symlink("/etc", world.source()).unwrap();
    assert_eq!(world.adopt().unwrap_err().rule, "folder");
    let _ = std::fs::remove_file(world.source());
    // On the way to it.
    let other = world.make("other", |path| std::fs::create_dir(path.join(SLOT)).unwrap());
    std::fs::remove_dir(world.source().parent().unwrap()).unwrap();
    symlink(&other, world.source().parent().unwrap()).unwrap();
    assert_eq!(world.adopt().unwrap_err().rule, "folder");
    assert!(other.join(SLOT).is_dir());
}

#[test]
fn the_file_of_names_is_a_file_of_the_worker_s() {
    let Some(world) = world() else { return };
    let secret = world.dir.path().join("secret");
    std::fs::write(&secret, "of root").unwrap();
    type Fill<'a> = &'a dyn Fn(&Path);
    let link: Fill = &|path| symlink(&secret, path).unwrap();
    let hard: Fill = &|path| std::fs::hard_link(&secret, path).unwrap();
    let pipe: Fill = &|path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
    let none: Fill = &|_| {};
    for fill in [link, hard, pipe, none] {
        let name = format!("worker-1/{SLOT}");
        let path = world.dir.path().join(world.peer.user.to_string()).join(&name);
        std::fs::create_dir(&path).unwrap();
        fill(&path.join("hosts"));
        std::os::unix::fs::chown(&path, Some(world.peer.user), None).unwrap();
        assert_eq!(world.adopt().unwrap_err().rule, "folder");
        assert_eq!(secret.metadata().unwrap().uid(), 0);
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[test]
fn foreign_folders_are_refused() {
    let Some(world) = world() else { return };
    world.slot();
    let binds = world.dir.path();
    for source in [
        PathBuf::from("/"),
        PathBuf::from("/etc"),
        binds.to_owned(),
        binds.join("kept/65541").join(SLOT),
        binds.join("65542/worker-1").join(SLOT),
        binds.join("65541/worker-1/../worker-1").join(SLOT),
        binds.join("65541/worker-1/other"),
        binds.join("65541").join("..").join(SLOT),
    ] {
        let refusal = world.slots.adopt(&source, SLOT, world.peer).unwrap_err();
        assert_eq!(refusal.rule, "binds", "{}", source.display());
    }
    let other = Peer { user: 65_542, group: 65_542 };
    assert_eq!(world.slots.adopt(&world.source(), SLOT, other).unwrap_err().rule, "binds");
    // Somebody else's folder at the right place.
    std::os::unix::fs::chown(world.source(), Some(0), None).unwrap();
    assert_eq!(world.adopt().unwrap_err().rule, "folder");
}

#[test]
fn the_folder_that_is_allowed_is_plain() {
    for binds in ["/", "relative", "/run/../etc"] {
        assert!(Slots::open(Path::new(binds), &[]).is_err(), "{binds}");
    }
}
