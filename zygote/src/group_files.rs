//! The files of a cell's control group that its worker reads, and the one that it writes.
//!
//! Whoever sees the hierarchies opens them: a zygote has the host's mounted, a worker on the host
//! sees them itself, and one in a container does not. Descriptors serve all of them alike.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::cgroups::{Cgroups, entries};

/// What a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFile {
    /// How many processes were killed for memory, among other counts.
    OutOfMemory,
    /// The highest use of memory.
    MemoryPeak,
    /// Processor time of all processes there ever were.
    CpuTime,
    /// How many processes were refused.
    ForksRefused,
    /// The share of the processor against other groups. The only one that is written.
    CpuWeight,
}

/// Kind; controller and name on cgroup v1; name on v2. In the order in which they are passed on.
const FILES: [(GroupFile, &str, &str, &str); 5] = [
    (GroupFile::OutOfMemory, "memory", "memory.oom_control", "memory.events"),
    (GroupFile::MemoryPeak, "memory", "memory.max_usage_in_bytes", "memory.peak"),
    (GroupFile::CpuTime, "cpuacct", "cpuacct.usage", "cpu.stat"),
    (GroupFile::ForksRefused, "pids", "pids.events", "pids.events"),
    (GroupFile::CpuWeight, "cpu", "cpu.shares", "cpu.weight"),
];

/// The open files of one group. What a kernel does not have is not there.
#[derive(Debug)]
pub struct GroupFiles {
    /// Whether they are those of cgroup v2.
    pub is_unified: bool,
    files: [Option<File>; FILES.len()],
}

impl GroupFiles {
    /// Opens those of a membership as `/proc/<pid>/cgroup` shows it. A group at the root of its
    /// hierarchy is no cell's.
    #[must_use]
    pub fn open(cgroups: &Cgroups, membership: &str) -> Self {
        let of = |controller: &str| {
            let named = |name: &str| name.split(',').any(|own| own == controller);
            let (name, path) = entries(membership).find(|(name, _)| named(name))?;
            cgroups.group(name, path).ok().filter(|_| path != "/")
        };
        let is_unified =
            !entries(membership).any(|(name, _)| name.split(',').any(|c| c == "memory"));
        let files = FILES.map(|(kind, controller, v1, v2)| {
            let (controller, name) = if is_unified { ("", v2) } else { (controller, v1) };
            let writes = kind == GroupFile::CpuWeight;
            let file = of(controller)?.join(name);
            OpenOptions::new().read(!writes).write(writes).open(file).ok()
        });
        Self { is_unified, files }
    }

    /// Puts together what [`Self::present`] and [`Self::descriptors`] took apart; `None` when that
    /// does not fit together.
    #[must_use]
    pub fn of_descriptors(
        is_unified: bool,
        present: u8,
        descriptors: Vec<OwnedFd>,
    ) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let mut files = [const { None }; FILES.len()];
        for (bit, file) in files.iter_mut().enumerate() {
            if present & (1 << bit) != 0 {
                *file = Some(File::from(descriptors.next()?));
            }
        }
        let is_whole = present >> FILES.len() == 0 && descriptors.next().is_none();
        is_whole.then_some(Self { is_unified, files })
    }

    /// Which of the files are there: a bit for each, the first one lowest.
    #[must_use]
    pub fn present(&self) -> u8 {
        let bit = |(at, file): (usize, &Option<File>)| u8::from(file.is_some()) << at;
        self.files.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
    }

    /// Their descriptors, in order.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.files.iter().flatten().map(AsRawFd::as_raw_fd).collect()
    }

    /// One of them.
    #[must_use]
    pub fn file(&self, kind: GroupFile) -> Option<&File> {
        let found = FILES.iter().zip(&self.files).find(|((own, ..), _)| *own == kind);
        found.and_then(|(_, file)| file.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_taken_apart_fits_together_again_and_nothing_else_does() {
        let file = || File::open("/proc/self/stat").unwrap();
        let mut files = [const { None }; FILES.len()];
        files[1] = Some(file());
        files[4] = Some(File::open("/proc/self/cmdline").unwrap());
        let group = GroupFiles { is_unified: true, files };
        assert_eq!((group.present(), group.descriptors().len()), (0b1_0010, 2));
        let copies = || -> Vec<OwnedFd> {
            let copy = |file: &File| file.try_clone().unwrap().into();
            group.files.iter().flatten().map(copy).collect()
        };
        let again = GroupFiles::of_descriptors(true, group.present(), copies()).unwrap();
        let mut text = String::new();
        again.file(GroupFile::CpuWeight).unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains('\0'), "the last one is the last one: {text:?}");
        assert!(again.file(GroupFile::OutOfMemory).is_none());
        for wrong in [0b1, 0b111, 0b10_0010] {
            assert!(GroupFiles::of_descriptors(true, wrong, copies()).is_none(), "{wrong:b}");
        }
    }
}
