//! What a worker says to a zygote or a launcher, and what it hears: fixed sizes, no text, no
//! length to trust. Descriptors travel beside the bytes (`SCM_RIGHTS`), in the stated order.
//!
//! | kind | name | descriptors | body (little-endian) |
//! |---|---|---|---|
//! | 1 | fork | cell's first process (pidfd), cell's end of the frame socket | slot `u64`, open files `u32`, oom score `i32` |
//! | 2 | launch | cell's end of its control socket | slot `u64`, memory `u64`, tmpfs `u64`, shm `u64`, pids `u32`, cpu millis `u32`, cpu shares `u32`, oom score `i32` |
//! | 3 | limit | – | slot `u64`, memory `u64`, pids `u32`, cpu millis `u32`, cpu shares `u32` |
//! | 129 | failed | – | slot `u64`, step `u8`, errno `i32` |
//! | 130 | ended | – | slot `u64`, status `i32` (exit code, or 128 + signal) |
//! | 131 | done | – | slot `u64` |
//! | 132 | forked | [files of the cell's control group](crate::group_files) | slot `u64`, cgroup v2 `u8`, which files `u8` |

/// Bytes of every message.
pub const MESSAGE_BYTES: usize = 64;
/// Bytes before the body: `FZ`, version, kind.
const HEADER_BYTES: usize = 4;
const MAGIC: [u8; 2] = *b"FZ";
const VERSION: u8 = 1;

/// A message on the wire.
pub type Bytes = [u8; MESSAGE_BYTES];

/// From the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Fork one child into the cell whose first process is given.
    Fork(Fork),
    /// Make a cell without an engine.
    Launch(Launch),
    /// Give a launched cell other limits.
    Limit(Limit),
}

/// A child for a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The worker's name for the cell.
    pub slot: u64,
    /// `RLIMIT_NOFILE` of the child.
    pub open_files: u32,
    /// `oom_score_adj` of the child.
    pub oom_score_adj: i32,
}

/// A cell without an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its limits.
    pub limits: Limit,
    /// Size of `/tmp`, in bytes.
    pub tmpfs_bytes: u64,
    /// Size of `/dev/shm`, in bytes.
    pub shm_bytes: u64,
    /// `oom_score_adj` of its first process.
    pub oom_score_adj: i32,
}

/// What a control group enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The worker's name for the cell.
    pub slot: u64,
    /// Memory in bytes; there is no swap.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Thousandths of a processor.
    pub cpu_millis: u32,
    /// Share of the processor against other cells, in cgroup v1's unit (1024 is usual).
    pub cpu_shares: u32,
}

/// To the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no child or no cell.
    Failed {
        /// The cell.
        slot: u64,
        /// What was being done.
        step: Step,
        /// The kernel's error number.
        errno: i32,
    },
    /// The child or the cell's first process ended.
    Ended {
        /// The cell.
        slot: u64,
        /// Its exit code, or 128 and the number of the signal that killed it.
        status: i32,
    },
    /// The limits are as asked for.
    Done {
        /// The cell.
        slot: u64,
    },
    /// There is a child. Comes before its end.
    Forked {
        /// The cell.
        slot: u64,
        /// Whether the files are those of cgroup v2.
        is_unified: bool,
        /// Which files of its control group come along, as
        /// [`GroupFiles::present`](crate::group_files::GroupFiles::present) says it.
        files: u8,
    },
}

/// A stage of making a cell. A child that fails after its fork exits with [`Step::exit_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The process that should be forked has other threads.
    Threads = 1,
    /// Looking at the cell's first process.
    Inspect = 2,
    /// Joining its process namespace.
    PidNamespace = 3,
    /// Forking.
    Fork = 4,
    /// Joining its control groups.
    Cgroups = 5,
    /// Joining its other namespaces.
    Namespaces = 6,
    /// Standard streams, descriptors, limits.
    Descriptors = 7,
    /// Giving up privileges.
    Privileges = 8,
    /// Installing the system call filter.
    Seccomp = 9,
    /// Mounting what the cell sees.
    Mounts = 10,
    /// Bringing up its loopback interface.
    Loopback = 11,
    /// Telling the worker.
    Report = 12,
}

const STEPS: [(Step, &str); 12] = [
    (Step::Threads, "forking a process with several threads"),
    (Step::Inspect, "looking at the cell's first process"),
    (Step::PidNamespace, "joining the cell's process namespace"),
    (Step::Fork, "forking"),
    (Step::Cgroups, "joining the cell's control groups"),
    (Step::Namespaces, "joining the cell's namespaces"),
    (Step::Descriptors, "setting up descriptors and limits"),
    (Step::Privileges, "giving up privileges"),
    (Step::Seccomp, "installing the system call filter"),
    (Step::Mounts, "mounting what the cell sees"),
    (Step::Loopback, "bringing up the loopback interface"),
    (Step::Report, "telling the worker"),
];

/// Exit codes of children that never became a runner start here; runners use lower ones.
const EXIT_CODE_BASE: u8 = 100;

impl Step {
    fn from_byte(byte: u8) -> Option<Self> {
        STEPS.iter().map(|(step, _)| *step).find(|step| *step as u8 == byte)
    }

    /// What was being done, for people.
    #[must_use]
    pub fn doing(self) -> &'static str {
        STEPS.iter().find(|(step, _)| *step == self).map_or("", |(_, text)| text)
    }

    /// The exit code of a child that failed here.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        i32::from(EXIT_CODE_BASE + self as u8)
    }

    /// The step that an exit code stands for.
    #[must_use]
    pub fn of_exit_code(code: i32) -> Option<Self> {
        u8::try_from(code).ok()?.checked_sub(EXIT_CODE_BASE).and_then(Self::from_byte)
    }
}

/// Bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a message of this version")
    }
}

impl std::error::Error for Malformed {}

const FORK: u8 = 1;
const LAUNCH: u8 = 2;
const LIMIT: u8 = 3;
const FAILED: u8 = 129;
const ENDED: u8 = 130;
const DONE: u8 = 131;
const FORKED: u8 = 132;

impl Request {
    /// How many descriptors travel with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Fork(_) => 2,
            Self::Launch(_) => 1,
            Self::Limit(_) => 0,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Fork(fork) => Writer::new(FORK)
                .put(&fork.slot.to_le_bytes())
                .put(&fork.open_files.to_le_bytes())
                .put(&fork.oom_score_adj.to_le_bytes())
                .done(),
            Self::Launch(launch) => Writer::new(LAUNCH)
                .put_limit(&launch.limits)
                .put(&launch.tmpfs_bytes.to_le_bytes())
                .put(&launch.shm_bytes.to_le_bytes())
                .put(&launch.oom_score_adj.to_le_bytes())
                .done(),
            Self::Limit(limit) => Writer::new(LIMIT).put_limit(limit).done(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are something else; nothing of them has been used then.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let request = match reader.kind {
            FORK => Self::Fork(Fork {
                slot: u64::from_le_bytes(reader.take()?),
                open_files: u32::from_le_bytes(reader.take()?),
                oom_score_adj: i32::from_le_bytes(reader.take()?),
            }),
            LAUNCH => Self::Launch(Launch {
                limits: reader.limit()?,
                tmpfs_bytes: u64::from_le_bytes(reader.take()?),
                shm_bytes: u64::from_le_bytes(reader.take()?),
                oom_score_adj: i32::from_le_bytes(reader.take()?),
            }),
            LIMIT => Self::Limit(reader.limit()?),
            _ => return Err(Malformed),
        };
        reader.end().map(|()| request)
    }
}

impl Answer {
    /// The cell it is about.
    #[must_use]
    pub fn slot(&self) -> u64 {
        match self {
            Self::Failed { slot, .. }
            | Self::Ended { slot, .. }
            | Self::Done { slot }
            | Self::Forked { slot, .. } => *slot,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Failed { slot, step, errno } => Writer::new(FAILED)
                .put(&slot.to_le_bytes())
                .put(&[*step as u8])
                .put(&errno.to_le_bytes())
                .done(),
            Self::Ended { slot, status } => {
                Writer::new(ENDED).put(&slot.to_le_bytes()).put(&status.to_le_bytes()).done()
            }
            Self::Done { slot } => Writer::new(DONE).put(&slot.to_le_bytes()).done(),
            Self::Forked { slot, is_unified, files } => Writer::new(FORKED)
                .put(&slot.to_le_bytes())
                .put(&[u8::from(*is_unified), *files])
                .done(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let slot = u64::from_le_bytes(reader.take()?);
        let answer = match reader.kind {
            FAILED => {
                let [step] = reader.take()?;
                let step = Step::from_byte(step).ok_or(Malformed)?;
                Self::Failed { slot, step, errno: i32::from_le_bytes(reader.take()?) }
            }
            ENDED => Self::Ended { slot, status: i32::from_le_bytes(reader.take()?) },
            DONE => Self::Done { slot },
            FORKED => {
                let [version, files] = reader.take()?;
                let is_unified = match version {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed),
                };
                Self::Forked { slot, is_unified, files }
            }
            _ => return Err(Malformed),
        };
        reader.end().map(|()| answer)
    }
}

struct Writer {
    bytes: Bytes,
    at: usize,
}

impl Writer {
    fn new(kind: u8) -> Self {
        let writer = Self { bytes: [0; MESSAGE_BYTES], at: 0 };
        writer.put(&MAGIC).put(&[VERSION, kind])
    }

    fn put(mut self, part: &[u8]) -> Self {
        let end = self.at + part.len();
        // The largest body is a third of the message; a test holds the layout.
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(part);
        }
        self.at = end;
        self
    }

    fn put_limit(self, limit: &Limit) -> Self {
        self.put(&limit.slot.to_le_bytes())
            .put(&limit.memory_bytes.to_le_bytes())
            .put(&limit.pids.to_le_bytes())
            .put(&limit.cpu_millis.to_le_bytes())
            .put(&limit.cpu_shares.to_le_bytes())
    }

    fn done(self) -> Bytes {
        self.bytes
    }
}

struct Reader<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a Bytes) -> Result<Self, Malformed> {
        let (header, rest) = bytes.split_at(HEADER_BYTES);
        match header {
            [b'F', b'Z', VERSION, kind] => Ok(Self { kind: *kind, rest }),
            _ => Err(Malformed),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (part, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*part)
    }

    fn limit(&mut self) -> Result<Limit, Malformed> {
        Ok(Limit {
            slot: u64::from_le_bytes(self.take()?),
            memory_bytes: u64::from_le_bytes(self.take()?),
            pids: u32::from_le_bytes(self.take()?),
            cpu_millis: u32::from_le_bytes(self.take()?),
            cpu_shares: u32::from_le_bytes(self.take()?),
        })
    }

    /// What is left has to be zero: room for later versions, and none for garbage.
    fn end(&self) -> Result<(), Malformed> {
        if self.rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT_EXAMPLE: Limit =
        Limit { slot: 7, memory_bytes: 1 << 40, pids: 32, cpu_millis: 1500, cpu_shares: 512 };

    #[test]
    fn every_message_survives_the_wire() {
        let requests = [
            Request::Fork(Fork { slot: u64::MAX, open_files: 4096, oom_score_adj: -1 }),
            Request::Launch(Launch {
                limits: LIMIT_EXAMPLE,
                tmpfs_bytes: 1,
                shm_bytes: u64::MAX,
                oom_score_adj: 500,
            }),
            Request::Limit(LIMIT_EXAMPLE),
        ];
        for request in requests {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
            assert_eq!(Answer::decode(&request.encode()), Err(Malformed));
        }
        for step in STEPS.map(|(step, _)| step) {
            let answer = Answer::Failed { slot: 1, step, errno: 13 };
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
            assert_eq!(Step::of_exit_code(step.exit_code()), Some(step));
        }
        let forked = Answer::Forked { slot: 4, is_unified: true, files: 31 };
        for answer in [Answer::Ended { slot: 3, status: 137 }, Answer::Done { slot: 9 }, forked] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
            assert_eq!(Request::decode(&answer.encode()), Err(Malformed));
        }
        assert_eq!(Step::of_exit_code(0), None);
        assert_eq!(Step::of_exit_code(137), None);
    }

    #[test]
    fn the_layout_is_as_documented() {
        let fork = Request::Fork(Fork { slot: 0x0102, open_files: 3, oom_score_adj: 4 }).encode();
        assert_eq!(
            &fork[..21],
            &[b'F', b'Z', 1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::array::uniform32(any::<u8>())) {
            let mut message = [0; MESSAGE_BYTES];
            message[..32].copy_from_slice(&bytes);
            message[..3].copy_from_slice(b"FZ\x01");
            if let Ok(request) = Request::decode(&message) {
                prop_assert_eq!(request.encode(), message);
            }
            if let Ok(answer) = Answer::decode(&message) {
                prop_assert_eq!(answer.encode(), message);
            }
        }
    }
}
