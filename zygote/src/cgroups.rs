//! Control groups of another process, in every hierarchy, and joining them.
//!
//! On cgroup v1 each controller is a hierarchy of its own and a process that joins only some of
//! them escapes the others (the `devices` policy, for one). So every one is joined that the cell's
//! first process is in, and the result is compared with the cell's, line by line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One hierarchy: where it is mounted with its root, and which controllers it has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// As the second field of `/proc/<pid>/cgroup`: empty for the unified one.
    name: String,
    mount: PathBuf,
}

/// The hierarchies of this host, as far as they are mounted below one directory.
#[derive(Clone, Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Finds the mounted hierarchies below `mounts`.
    ///
    /// # Errors
    /// When there is none, or `/proc` cannot be read.
    pub fn find(mounts: &Path) -> io::Result<Self> {
        let names = fs::read_to_string("/proc/self/cgroup")?;
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies = parse(&names, &table, mounts);
        if hierarchies.is_empty() {
            let text = format!("no control group hierarchy is mounted below {}", mounts.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Self { hierarchies })
    }

    /// The membership of a process, as the kernel shows it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{pid}/cgroup"))
    }

    /// Moves the calling process into the groups of `membership` and checks that it is there.
    ///
    /// # Errors
    /// When one hierarchy is not mounted here or cannot be joined.
    pub fn join(&self, membership: &str) -> io::Result<()> {
        let own = Self::of("self")?;
        for (name, path) in entries(membership) {
            // Already there: the root of a hierarchy that the engine does not use.
            if entries(&own).any(|entry| entry == (name, path)) {
                continue;
            }
            let group = self.group(name, path)?;
            fs::write(group.join("cgroup.procs"), "0")?;
        }
        if sorted(&Self::of("self")?) == sorted(membership) {
            Ok(())
        } else {
            Err(io::Error::other("the control groups are not the cell's"))
        }
    }

    /// The directory of a group. The path comes from the kernel; it is checked all the same.
    pub(crate) fn group(&self, name: &str, path: &str) -> io::Result<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| hierarchy.name == name);
        let relative = path.strip_prefix('/').filter(|path| !path.split('/').any(|p| p == ".."));
        match (hierarchy, relative) {
            (Some(hierarchy), Some(relative)) => Ok(hierarchy.mount.join(relative)),
            _ => Err(io::Error::other(format!("hierarchy {name:?} is not mounted here"))),
        }
    }

    /// The directory of a group of this name for every controller of cgroup v1 and for the unified
    /// hierarchy: controller name (empty for the unified one) and directory.
    pub fn groups<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, PathBuf)> + 'a {
        self.hierarchies.iter().map(move |h| (h.name.as_str(), h.mount.join(path)))
    }
}

/// The OCI runtimes' conversion of shares (2…262144) to weight (1…10000).
#[must_use]
pub fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// `(controllers, path)` of each line of `/proc/<pid>/cgroup`.
pub(crate) fn entries(membership: &str) -> impl Iterator<Item = (&str, &str)> {
    membership.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

fn sorted(membership: &str) -> Vec<(&str, &str)> {
    let mut all: Vec<_> = entries(membership).collect();
    all.sort_unstable();
    all
}

/// Matches hierarchies with mounts by their controllers, which v1 shows among the mount's options.
fn parse(names: &str, mountinfo: &str, below: &Path) -> Vec<Hierarchy> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::read).collect();
    let of = |name: &str| {
        let is_it = |mount: &&Mount<'_>| {
            mount.root == "/" && Path::new(mount.point).starts_with(below) && mount.has(name)
        };
        let mount = mounts.iter().find(is_it)?;
        Some(Hierarchy { name: name.to_owned(), mount: mount.point.into() })
    };
    entries(names).filter_map(|(name, _)| of(name)).collect()
}

/// The part of a line of `mountinfo` that matters here.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        Some(Self { root, point, kind: after.next()?, options: after.nth(1)? })
    }

    fn has(&self, name: &str) -> bool {
        match self.kind {
            "cgroup2" => name.is_empty(),
            "cgroup" => {
                !name.is_empty()
                    && name.split(',').all(|wanted| self.options.split(',').any(|o| o == wanted))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "9:name=systemd:/x\n4:cpu,cpuacct:/docker/a\n3:memory:/docker/a\n0::/u\n";
    const MOUNTS: &str = "\
30 20 0:1 / /host rw - tmpfs tmpfs rw
31 30 0:2 / /host/memory rw,relatime shared:1 - cgroup cgroup rw,memory
32 30 0:3 / /host/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:4 / /host/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:5 / /host/unified rw - cgroup2 cgroup2 rw
35 20 0:2 /docker/z /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
";

    #[test]
    fn each_hierarchy_is_found_where_its_root_is_mounted() {
        let found = parse(NAMES, MOUNTS, Path::new("/host"));
        let of = |name: &str| found.iter().find(|h| h.name == name).map(|h| h.mount.clone());
        assert_eq!(of("memory"), Some("/host/memory".into()));
        assert_eq!(of("cpu,cpuacct"), Some("/host/cpu,cpuacct".into()));
        assert_eq!(of("name=systemd"), Some("/host/systemd".into()));
        assert_eq!(of(""), Some("/host/unified".into()));
        assert!(parse(NAMES, MOUNTS, Path::new("/sys/fs/cgroup")).is_empty());
    }

    #[test]
    fn groups_outside_of_the_hierarchy_are_refused() {
        let cgroups = Cgroups { hierarchies: parse(NAMES, MOUNTS, Path::new("/host")) };
        assert_eq!(
            cgroups.group("memory", "/docker/b").unwrap(),
            Path::new("/host/memory/docker/b")
        );
        assert!(cgroups.group("memory", "/../x").is_err());
        assert!(cgroups.group("memory", "x").is_err());
        assert!(cgroups.group("freezer", "/docker/b").is_err());
    }

    #[test]
    fn order_of_lines_does_not_matter() {
        assert_eq!(sorted("2:a:/x\n1:b:/y\n"), sorted("7:b:/y\n3:a:/x\n"));
        assert_ne!(sorted("1:a:/x\n"), sorted("1:a:/y\n"));
    }
}
