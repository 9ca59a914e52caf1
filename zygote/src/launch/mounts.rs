//! What a cell sees: the image, read-only, and the few file systems that a program expects.
//!
//! The list follows what Docker's newest release gives and hides. Every mount is in a namespace
//! that nobody else is in, and the launcher's own files are cut off at the end.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::SLOTS;
use crate::lockdown::{CELL_GROUP, tmp_files, user_of};
use crate::message::Launch;

/// A file system in memory that the launcher's container has.
const STAGE: &str = "/tmp";
/// Where the cell's root is put together. Each cell has its own mount there.
const ROOT: &str = "/tmp/root";
/// The second layer of the root, which the kernel wants when nothing is written.
const EMPTY: &str = "/tmp/empty";

const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const STRICT: MsFlags = PLAIN.union(MsFlags::MS_NOEXEC);

/// Devices that hold nothing of anyone.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];
/// What of `/proc` tells about the host, or about its other users. Those that a kernel lacks are
/// left out.
pub const HIDDEN: [&str; 11] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
    "kmsg",
];
/// What of `/proc` changes the host when written to; a cell's user could write to none of it anyway.
pub const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// The worker writes the names of a cell's forwards into this file of its slot's directory.
const HOSTS: (&str, &str) = ("hosts", "etc/hosts");

/// Makes what every cell's root is put together with.
///
/// # Errors
/// When the launcher's container has no place for it.
pub(super) fn stage() -> io::Result<()> {
    // Without this, what cells mount would appear here, and here is shared by all of them.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    // Only ours, and large enough for directories alone.
    mount(Some("stage"), STAGE, Some("tmpfs"), STRICT, Some("size=64k,mode=0700"))?;
    fs::create_dir(ROOT)?;
    fs::create_dir(EMPTY)
}

/// Puts the cell's files together and makes them the root of this process.
///
/// # Errors
/// What the kernel says.
pub(super) fn enter(launch: &Launch) -> io::Result<()> {
    // A layer over the image for each cell, although nothing is ever written to it: locks and
    // watches on files belong to a layer, and cells that shared one could see each other by them.
    let layers = format!("lowerdir=/:{EMPTY}");
    let root = PLAIN | MsFlags::MS_RDONLY;
    mount(Some("cell"), ROOT, Some("overlay"), root, Some(layers.as_str()))?;
    chdir(ROOT)?;
    let slot = format!("{SLOTS}/{:016x}", launch.limits.slot);
    let (names, hosts) = HOSTS;
    bind(&format!("{slot}/{names}"), hosts, STRICT | MsFlags::MS_RDONLY)?;
    memory("run", "size=4k,nr_inodes=4,mode=0755", STRICT)?;
    fs::create_dir("run/flowcell")?;
    bind(&slot, "run/flowcell", STRICT | MsFlags::MS_RDONLY)?;
    again("run", STRICT | MsFlags::MS_RDONLY)?;
    let (user, bytes) = (user_of(launch.limits.slot), launch.tmpfs_bytes);
    let files = tmp_files(bytes);
    let owner = format!("uid={user},gid={CELL_GROUP},mode=0700,size={bytes},nr_inodes={files}");
    memory("tmp", &owner, STRICT)?;
    devices(launch.shm_bytes)?;
    processes()?;
    // The old root is put over the new one and taken away with all that is mounted in it.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

fn devices(shm_bytes: u64) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    memory("dev", "size=64k,nr_inodes=32,mode=0755", flags)?;
    for name in DEVICES {
        let path = format!("dev/{name}");
        drop(fs::File::create(&path)?);
        mount(
            Some(format!("/{path}").as_str()),
            path.as_str(),
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
    }
    for (target, name) in LINKS {
        std::os::unix::fs::symlink(target, format!("dev/{name}"))?;
    }
    for directory in ["dev/pts", "dev/shm", "dev/mqueue"] {
        fs::create_dir(directory)?;
    }
    let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(Some("devpts"), "dev/pts", Some("devpts"), flags, Some(terminals))?;
    let files = tmp_files(shm_bytes);
    memory("dev/shm", &format!("mode=1777,size={shm_bytes},nr_inodes={files}"), STRICT)?;
    mount(Some("mqueue"), "dev/mqueue", Some("mqueue"), STRICT, None::<&str>)?;
    // Not of the devices, which are mounts of their own: of the directory.
    again("dev", flags | MsFlags::MS_RDONLY)
}

fn processes() -> io::Result<()> {
    mount(Some("proc"), "proc", Some("proc"), STRICT, None::<&str>)?;
    // As the engine gives it: a cell that serves itself on port 80 disturbs nobody.
    fs::write("proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    for name in HIDDEN {
        let path = format!("proc/{name}");
        match fs::symlink_metadata(&path) {
            // The image's own `sys`, which is empty and read-only.
            Ok(found) if found.is_dir() => bind("sys", &path, STRICT | MsFlags::MS_RDONLY)?,
            Ok(_) => mount(
                Some("dev/null"),
                path.as_str(),
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )?,
            Err(_) => {}
        }
    }
    for name in READ_ONLY {
        let path = format!("proc/{name}");
        if Path::new(&path).exists() {
            bind(&path, &path, STRICT | MsFlags::MS_RDONLY)?;
        }
    }
    Ok(())
}

fn memory(at: &str, options: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options))?)
}

/// Shows a directory or file at a second place. The kernel takes the flags in a second step only.
fn bind(what: &str, at: &str, flags: MsFlags) -> io::Result<()> {
    mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    again(at, flags)
}

/// Changes the flags of a mount.
fn again(at: &str, flags: MsFlags) -> io::Result<()> {
    let change = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    Ok(mount(None::<&str>, at, None::<&str>, change, None::<&str>)?)
}
