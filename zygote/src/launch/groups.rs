//! The control groups of cells: `/flowcell/<owner>/<slot>`.
//!
//! On cgroup v1 a cell has a group of its own only where something is limited; in the other
//! hierarchies all cells share `/flowcell/<owner>`, and the launcher is there too, so that its
//! children are born in it. Joining a group is what costs most in making a cell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cgroups::{Cgroups, entries, weight_of};
use crate::message::Limit;

/// The group of everything here.
const TOP: &str = "flowcell";
/// The period that a share of the processor is counted in.
const PERIOD_US: u64 = 100_000;
/// The least that the kernel gives per period.
const QUOTA_US_MIN: u64 = 1_000;
/// What limits a cell, or counts what it uses up (often together with `cpu`, not everywhere).
const LIMITING: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "devices"];
/// The devices that a cell may use: those of its `/dev`, and its own terminals.
const DEVICES: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// One hierarchy and the directory of the owner's group in it.
#[derive(Debug)]
struct Hierarchy {
    /// Its controllers; empty for the unified one.
    controllers: String,
    directory: PathBuf,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|own| own == controller)
    }

    fn slot(&self, slot: u64) -> PathBuf {
        self.directory.join(format!("{slot:016x}"))
    }
}

/// The groups of one launcher.
#[derive(Debug)]
pub(super) struct Groups {
    /// Where each cell has its own group.
    own: Vec<Hierarchy>,
    /// Where all cells share one.
    shared: Vec<Hierarchy>,
    /// Where this process was before.
    before: Vec<PathBuf>,
    /// Groups of an earlier launcher's cells that had not ended when this one began.
    orphans: Vec<PathBuf>,
}

impl Groups {
    /// Makes the owner's groups, and removes what an earlier launcher has left in them.
    ///
    /// # Errors
    /// When there is no hierarchy that can be written to, or none that limits memory.
    pub(super) fn open(mounts: &Path, owner: &str) -> io::Result<Self> {
        let cgroups = Cgroups::find(mounts)?;
        let path = format!("{TOP}/{owner}");
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for (controllers, directory) in cgroups.groups(&path) {
            let hierarchy = Hierarchy { controllers: controllers.to_owned(), directory };
            prepare(&hierarchy)?;
            let limits = match controllers {
                "" => unified_limits(&hierarchy.directory),
                _ => LIMITING.iter().any(|controller| hierarchy.has(controller)),
            };
            if limits { own.push(hierarchy) } else { shared.push(hierarchy) }
        }
        let has = |wanted: &str| own.iter().any(|h| h.controllers.is_empty() || h.has(wanted));
        if let Some(missing) = ["memory", "pids", "cpu"].into_iter().find(|name| !has(name)) {
            let text = format!("the control group hierarchy of {missing} is not here");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let before = own_groups(&cgroups, &shared)?;
        for hierarchy in &shared {
            fs::write(hierarchy.directory.join("cgroup.procs"), "0")?;
        }
        let mut groups = Self { own, shared, before, orphans: Vec::new() };
        groups.orphans = groups.sweep();
        Ok(groups)
    }

    /// Makes the groups of a cell and gives them its limits.
    pub(super) fn create(&self, limits: &Limit) -> io::Result<()> {
        for hierarchy in &self.own {
            let group = hierarchy.slot(limits.slot);
            fs::create_dir(&group)?;
            if hierarchy.controllers.is_empty() {
                // One without the others of a cell is of no use to anybody.
                fs::write(group.join("memory.oom.group"), "1")?;
            }
            if hierarchy.has("devices") {
                fs::write(group.join("devices.deny"), "a")?;
                for device in DEVICES {
                    fs::write(group.join("devices.allow"), device)?;
                }
            }
        }
        self.limit(limits)
    }

    /// Moves the calling process into the groups of a cell.
    pub(super) fn join(&self, slot: u64) -> io::Result<()> {
        self.own.iter().try_for_each(|h| fs::write(h.slot(slot).join("cgroup.procs"), "0"))
    }

    /// Gives a cell other limits.
    pub(super) fn limit(&self, limits: &Limit) -> io::Result<()> {
        let quota = (u64::from(limits.cpu_millis) * PERIOD_US / 1_000).max(QUOTA_US_MIN);
        for hierarchy in &self.own {
            let group = hierarchy.slot(limits.slot);
            let set = |file: &str, value: String| fs::write(group.join(file), value);
            if hierarchy.controllers.is_empty() {
                set("memory.max", limits.memory_bytes.to_string())?;
                absent_is_fine(set("memory.swap.max", "0".into()))?;
                set("pids.max", limits.pids.to_string())?;
                set("cpu.max", format!("{quota} {PERIOD_US}"))?;
                set("cpu.weight", weight_of(limits.cpu_shares.into()).to_string())?;
            }
            if hierarchy.has("memory") {
                limit_memory(&group, limits.memory_bytes)?;
            }
            if hierarchy.has("pids") {
                set("pids.max", limits.pids.to_string())?;
            }
            if hierarchy.has("cpu") {
                set("cpu.cfs_period_us", PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", quota.to_string())?;
                set("cpu.shares", limits.cpu_shares.to_string())?;
            }
        }
        Ok(())
    }

    /// Removes the groups of a cell; what is not there is removed.
    ///
    /// # Errors
    /// When one is still in use.
    pub(super) fn remove(&self, slot: u64) -> io::Result<()> {
        let mut result = Ok(());
        // Every one is tried, whatever became of the others.
        for hierarchy in &self.own {
            result = result.and(absent_is_fine(fs::remove_dir(hierarchy.slot(slot))));
        }
        result
    }

    /// Removes the groups of cells that have ended without a launcher. Those of living cells stay
    /// and are returned: the kernel does not remove a group with a process in it.
    fn sweep(&self) -> Vec<PathBuf> {
        let all = self.own.iter().filter_map(|hierarchy| fs::read_dir(&hierarchy.directory).ok());
        let groups = all.flat_map(|all| all.flatten().map(|group| group.path()));
        groups.filter(|group| group.is_dir() && stays(group)).collect()
    }

    /// Removes those orphans that have ended since; whether any is left. Groups that this launcher
    /// has made are none: one without a process may be about to be joined.
    pub(super) fn adopt(&mut self) -> bool {
        self.orphans.retain(|group| stays(group));
        !self.orphans.is_empty()
    }

    /// Leaves the shared groups and removes what is empty. What is not belongs to cells that will
    /// end with their worker, or to another launcher.
    pub(super) fn close(&mut self) {
        drop(self.sweep());
        for group in &self.before {
            let _ = fs::write(group.join("cgroup.procs"), "0");
        }
        for hierarchy in self.own.iter().chain(&self.shared) {
            let _ = fs::remove_dir(&hierarchy.directory);
            if let Some(top) = hierarchy.directory.parent() {
                let _ = fs::remove_dir(top);
            }
        }
    }
}

/// Tries to remove a group; whether it is still there.
fn stays(group: &Path) -> bool {
    absent_is_fine(fs::remove_dir(group)).is_err()
}

/// Makes the group of the owner and everything above it ready to have groups in it.
fn prepare(hierarchy: &Hierarchy) -> io::Result<()> {
    fs::create_dir_all(&hierarchy.directory)?;
    let Some(top) = hierarchy.directory.parent() else { return Ok(()) };
    let Some(root) = top.parent() else { return Ok(()) };
    if hierarchy.has("cpuset") {
        for (above, group) in [(root, top), (top, &hierarchy.directory)] {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                // A group without processors cannot be joined; new ones have none.
                let inherited = fs::read_to_string(above.join(file))?;
                fs::write(group.join(file), inherited.trim())?;
            }
        }
    }
    let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if hierarchy.controllers.is_empty() && offered.split_whitespace().any(|c| c == "memory") {
        for group in [root, top, &hierarchy.directory] {
            fs::write(group.join("cgroup.subtree_control"), "+memory +pids +cpu")?;
        }
    }
    Ok(())
}

/// Whether the unified hierarchy has the controllers, and not those of cgroup v1.
fn unified_limits(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.subtree_control"))
        .is_ok_and(|enabled| enabled.split_whitespace().any(|controller| controller == "memory"))
}

/// The groups of this process in some hierarchies.
fn own_groups(cgroups: &Cgroups, of: &[Hierarchy]) -> io::Result<Vec<PathBuf>> {
    let membership = Cgroups::of("self")?;
    let wanted = |name: &str| of.iter().any(|hierarchy| hierarchy.controllers == name);
    entries(&membership)
        .filter(|(name, _)| wanted(name))
        .map(|(name, path)| cgroups.group(name, path))
        .collect()
}

/// Memory and memory with swap, which may never be less: which goes first depends on the direction.
fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    let (alone, with_swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    let set = |file: &str| fs::write(group.join(file), bytes.to_string());
    if set(alone).is_ok() {
        return absent_is_fine(set(with_swap));
    }
    absent_is_fine(set(with_swap))?;
    set(alone)
}

/// A kernel may lack accounting for swap, and a group may be gone already.
fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Where opening for writing would have to create a file.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit =
        Limit { slot: 7, memory_bytes: 1 << 29, pids: 64, cpu_millis: 1_500, cpu_shares: 512 };

    fn groups(directory: &Path, controllers: &[&str]) -> Groups {
        let hierarchy = |name: &&str| Hierarchy {
            controllers: (*name).to_owned(),
            directory: directory.join(format!("h-{name}")),
        };
        let own: Vec<_> = controllers.iter().map(hierarchy).collect();
        own.iter().for_each(|hierarchy| fs::create_dir(&hierarchy.directory).unwrap());
        Groups { own, shared: Vec::new(), before: Vec::new(), orphans: Vec::new() }
    }

    fn written(directory: &Path, file: &str) -> String {
        fs::read_to_string(directory.join(file)).unwrap_or_default()
    }

    #[test]
    fn version_1_has_a_group_for_each_controller() {
        let root = tempfile::tempdir().unwrap();
        groups(root.path(), &["memory", "pids", "cpu,cpuacct", "devices"]).create(&LIMIT).unwrap();
        for (file, value) in [
            ("h-memory/0000000000000007/memory.limit_in_bytes", "536870912"),
            ("h-memory/0000000000000007/memory.memsw.limit_in_bytes", "536870912"),
            ("h-pids/0000000000000007/pids.max", "64"),
            ("h-cpu,cpuacct/0000000000000007/cpu.cfs_quota_us", "150000"),
            ("h-cpu,cpuacct/0000000000000007/cpu.shares", "512"),
            ("h-devices/0000000000000007/devices.deny", "a"),
        ] {
            assert_eq!(written(root.path(), file), value, "{file}");
        }
        assert!(!root.path().join("h-pids/0000000000000007/memory.max").exists());
    }

    #[test]
    fn version_2_has_one_group() {
        let root = tempfile::tempdir().unwrap();
        let groups = groups(root.path(), &[""]);
        groups.create(&LIMIT).unwrap();
        groups.limit(&Limit { memory_bytes: 1 << 20, cpu_shares: 1_024, ..LIMIT }).unwrap();
        let group = root.path().join("h-/0000000000000007");
        for (file, value) in [
            ("memory.max", "1048576"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "64"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "39"),
        ] {
            assert_eq!(written(&group, file), value, "{file}");
        }
    }

    #[test]
    fn removing_what_is_gone_is_no_error_and_what_is_in_use_is_one() {
        let root = tempfile::tempdir().unwrap();
        let groups = groups(root.path(), &["memory", "pids"]);
        groups.remove(7).unwrap();
        fs::create_dir_all(groups.own[0].slot(7).join("busy")).unwrap();
        fs::create_dir(groups.own[1].slot(7)).unwrap();
        assert!(groups.remove(7).is_err());
        assert!(!groups.own[1].slot(7).exists(), "the others are removed all the same");
    }

    #[test]
    fn what_outlives_its_launcher_is_removed_when_it_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let mut groups = groups(root.path(), &["memory", "pids"]);
        let [ended, living, own] = [7, 8, 9].map(|slot| groups.own[0].slot(slot));
        fs::create_dir(&ended).unwrap();
        fs::create_dir_all(living.join("busy")).unwrap();
        groups.orphans = groups.sweep();
        fs::create_dir(&own).unwrap();
        assert!(groups.adopt() && !ended.exists() && living.exists());
        fs::remove_dir(living.join("busy")).unwrap();
        assert!(!groups.adopt() && !living.exists());
        assert!(own.exists(), "nobody is in it yet, and somebody will be");
    }
}
